"""Every call of tritonclient.grpc that applies."""

import queue
import sys

import numpy as np
import tritonclient.grpc as client
from checks import Checks, image, mixed_inputs

port, done = sys.argv[1], Checks()
triton = client.InferenceServerClient(f"127.0.0.1:{port}")
OUTPUT = "MobilenetV1/Predictions/Reshape_1"


def tensor(name, array, datatype):
    entry = client.InferInput(name, list(array.shape), datatype)
    entry.set_data_from_numpy(array)
    return entry


def infer(**more):
    return triton.infer("mobilenet", [tensor("input", image(), "UINT8")], **more)


done("live", lambda: triton.is_server_live())
done("ready", lambda: triton.is_server_ready())
done("model ready", lambda: triton.is_model_ready("mobilenet", "1"))
done("unknown model is not ready", lambda: not triton.is_model_ready("none"))
done("server metadata", lambda: triton.get_server_metadata().name == "edgeline")
done("model metadata", lambda: list(triton.get_model_metadata("mobilenet").versions) == ["1", "2"])
done(
    "metadata shape",
    lambda: list(triton.get_model_metadata("mixed").inputs[0].shape) in ([-1, 2], [-1, 1]),
)
done("config", lambda: triton.get_model_config("mixed").config.name == "mixed")
done("statistics", lambda: len(triton.get_inference_statistics().model_stats) >= 2)
done("index", lambda: {m.name for m in triton.get_model_repository_index().models} >= {"mixed"})
done("infer", lambda: infer().as_numpy(OUTPUT).shape == (1, 1001))
done(
    "infer, id and version",
    lambda: infer(request_id="x", model_version="1").get_response().id == "x",
)
done("infer, gzip", lambda: infer(compression_algorithm="gzip").as_numpy(OUTPUT).shape == (1, 1001))
done("infer, timeout", lambda: infer(client_timeout=20.0).as_numpy(OUTPUT).shape == (1, 1001))
done(
    "asked output",
    lambda: (
        infer(outputs=[client.InferRequestedOutput(OUTPUT)]).as_numpy(OUTPUT).shape == (1, 1001)
    ),
)
done(
    "classification",
    lambda: (
        infer(outputs=[client.InferRequestedOutput(OUTPUT, class_count=3)]).as_numpy(OUTPUT).shape
        == (1, 3)
    ),
)


def mixed():
    arrays = mixed_inputs()
    answer = triton.infer("mixed", [tensor(n, a, t) for n, (a, t) in arrays.items()])
    return (
        np.allclose(answer.as_numpy("score"), [[7.0], [16.0]])
        and answer.as_numpy("echo").tolist() == arrays["name"][0].tolist()
        and answer.as_numpy("next").tolist() == [[2], [3]]
    )


def asynchronous():
    answers = queue.Queue()
    for _ in range(32):
        triton.async_infer(
            "mobilenet",
            [tensor("input", image(), "UINT8")],
            lambda result, error: answers.put((result, error)),
        )
    found = [answers.get(timeout=30) for _ in range(32)]
    first = found[0][0].as_numpy(OUTPUT)
    return all(e is None and (r.as_numpy(OUTPUT) == first).all() for r, e in found)


def large():
    rows = 120_000  # 9.6 MB each way: above gRPC's 4 MiB, and than any first window of HTTP/2
    arrays = {
        "amount": np.ones((rows, 2), np.float32),
        "count": np.zeros((rows, 1), np.int64),
        "name": np.full((rows, 1), b"x" * 50, object),
    }
    kinds = {"amount": "FP32", "count": "INT64", "name": "BYTES"}
    answer = triton.infer("mixed", [tensor(n, a, kinds[n]) for n, a in arrays.items()])
    return answer.as_numpy("echo").shape == (rows, 1) and (answer.as_numpy("score") == 4).all()


class Stream:
    """A stream of tritonclient, as its users keep one: answers by a callback."""

    def __init__(self, **options):
        self.answers = queue.Queue()
        triton.start_stream(lambda result, error: self.answers.put((result, error)), **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        triton.stop_stream()

    def ask(self, name="mobilenet", inputs=None, **more):
        given = [tensor("input", image(), "UINT8")] if inputs is None else inputs
        triton.async_stream_infer(name, given, **more)

    def next(self):
        return self.answers.get(timeout=60)


def is_final(result):
    return result.get_response().parameters["triton_final_response"].bool_param


def streamed(number=200, **options):
    with Stream(**options) as stream:
        for place in range(number):
            stream.ask(request_id=str(place), enable_empty_final_response=True)
        found = [stream.next() for _ in range(number)]
    first = found[0][0].as_numpy(OUTPUT)
    return (
        all(error is None for _, error in found)
        and [result.get_response().id for result, _ in found] == list(map(str, range(number)))
        and all(is_final(result) for result, _ in found)
        and all((result.as_numpy(OUTPUT) == first).all() for result, _ in found)
    )


def streamed_faults():
    """A fault is the answer to its own request alone: those around it are answered."""
    with Stream() as stream:
        stream.ask(request_id="a")
        stream.ask("none", request_id="b")
        stream.ask(inputs=[tensor("input", image().astype("int32"), "INT32")])
        stream.ask(request_id="c")
        found = [stream.next() for _ in range(4)]
    return [error is None for _, error in found] == [True, False, False, True] and (
        "no model" in str(found[1][1]) and "UINT8" in str(found[2][1])
    )


def fault_as_status():
    with Stream(headers={"triton_grpc_error": "true"}) as stream:
        stream.ask()
        stream.ask("none")
        found = [stream.next() for _ in range(2)]
    return found[0][1] is None and found[1][1].status() == "StatusCode.NOT_FOUND"


def cancelled():
    stream = Stream()
    for _ in range(50):
        stream.ask()
    stream.next()
    triton.stop_stream(cancel_requests=True)
    return triton.is_server_live() and streamed(3)


def too_slow():
    with Stream(stream_timeout=0.5) as stream:
        _, error = stream.next()
    return error.status() == "StatusCode.DEADLINE_EXCEEDED"


def large_stream():
    """Messages above gRPC's 4 MiB, both ways, in one stream."""
    rows = 120_000
    arrays = {
        "amount": (np.ones((rows, 2), np.float32), "FP32"),
        "count": (np.zeros((rows, 1), np.int64), "INT64"),
        "name": (np.full((rows, 1), b"x" * 60, object), "BYTES"),
    }
    inputs = [tensor(name, *given) for name, given in arrays.items()]
    with Stream() as stream:
        for _ in range(12):  # 115 MB: more than a stream's window
            stream.ask("mixed", inputs)
        found = [stream.next() for _ in range(12)]
    return all(e is None and r.as_numpy("echo").shape == (rows, 1) for r, e in found)


done("stream", streamed)
done("stream, gzip", lambda: streamed(20, compression_algorithm="gzip"))
done("stream, faults", streamed_faults)
done("stream, a fault ends it", fault_as_status)
done("stream, cancelled", cancelled)
done("stream, its time is up", too_slow)
done("stream, large", large_stream)
done("strings", mixed)
done("32 at once", asynchronous)
done("large", large)
done.refused("unknown model", client.InferenceServerException, lambda: triton.infer("none", []))
done.refused("no inputs", client.InferenceServerException, lambda: triton.infer("mixed", []))
done.refused(
    "wrong dtype",
    client.InferenceServerException,
    lambda: triton.infer("mobilenet", [tensor("input", image().astype("int32"), "INT32")]),
)
done("unload", lambda: triton.unload_model("mixed") is None)
done("unloaded", lambda: not triton.is_model_ready("mixed"))
for name, what in (
    ("shared memory", triton.get_system_shared_memory_status),
    ("CUDA's shared memory", triton.get_cuda_shared_memory_status),
    ("tracing", triton.get_trace_settings),
    ("logging", triton.get_log_settings),
):
    done.refused(name, client.InferenceServerException, what)
extensions = set(triton.get_server_metadata().extensions)
done(
    "no extension without its calls", lambda: not extensions & {"trace", "logging", "shared_memory"}
)
done("load", lambda: triton.load_model("mixed") is None and triton.is_model_ready("mixed"))
done.refused("load of an unknown model", Exception, lambda: triton.load_model("none"))
done.end()
