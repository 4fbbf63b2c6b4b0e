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
    rows = 20000  # the answer is larger than any first window of HTTP/2
    arrays = {
        "amount": np.ones((rows, 2), np.float32),
        "count": np.zeros((rows, 1), np.int64),
        "name": np.full((rows, 1), b"x" * 50, object),
    }
    kinds = {"amount": "FP32", "count": "INT64", "name": "BYTES"}
    answer = triton.infer("mixed", [tensor(n, a, kinds[n]) for n, a in arrays.items()])
    return answer.as_numpy("echo").shape == (rows, 1) and (answer.as_numpy("score") == 4).all()


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
done("load", lambda: triton.load_model("mixed") is None and triton.is_model_ready("mixed"))
done.refused("load of an unknown model", Exception, lambda: triton.load_model("none"))
done.end()
