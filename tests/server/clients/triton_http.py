"""Every call of tritonclient.http that applies. Prints a line for each; exits with the failures."""

import sys

import numpy as np
import tritonclient.http as client
from checks import Checks, image, mixed_inputs

port, done = sys.argv[1], Checks()
triton = client.InferenceServerClient(f"127.0.0.1:{port}", concurrency=4)


def tensor(name, array, datatype, binary):
    entry = client.InferInput(name, list(array.shape), datatype)
    entry.set_data_from_numpy(array, binary_data=binary)
    return entry


done("live", lambda: triton.is_server_live())
done("ready", lambda: triton.is_server_ready())
done("model ready", lambda: triton.is_model_ready("mobilenet"))
done("version ready", lambda: triton.is_model_ready("mobilenet", "1"))
done("unknown model is not ready", lambda: not triton.is_model_ready("none"))
done("server metadata", lambda: triton.get_server_metadata()["name"] == "edgeline")
done(
    "model metadata",
    lambda: (
        triton.get_model_metadata("mixed", "1")["inputs"][0].keys() == {"name", "datatype", "shape"}
    ),
)
done("config", lambda: triton.get_model_config("mixed")["name"] == "mixed")
done("statistics", lambda: len(triton.get_inference_statistics()["model_stats"]) >= 2)
done("statistics of one", lambda: triton.get_inference_statistics("mixed")["model_stats"])
done("index", lambda: {m["name"] for m in triton.get_model_repository_index()} >= {"mixed"})
expected = None
for binary_in in (True, False):
    for binary_out in (True, False):
        for compression in (None, "gzip", "deflate"):

            def infer(binary_in=binary_in, binary_out=binary_out, compression=compression):
                global expected
                answer = triton.infer(
                    "mobilenet",
                    [tensor("input", image(), "UINT8", binary_in)],
                    outputs=[
                        client.InferRequestedOutput(
                            "MobilenetV1/Predictions/Reshape_1", binary_data=binary_out
                        )
                    ],
                    request_id="abc",
                    request_compression_algorithm=compression,
                    response_compression_algorithm=compression,
                )
                found = answer.as_numpy("MobilenetV1/Predictions/Reshape_1")
                expected = found if expected is None else expected
                right = found.shape == (1, 1001) and (found == expected).all()
                return right and answer.get_response()["id"] == "abc"

            done(f"infer {binary_in} {binary_out} {compression}", infer)


def mixed(binary):
    arrays = mixed_inputs()
    answer = triton.infer(
        "mixed",
        [tensor(n, a, t, binary) for n, (a, t) in arrays.items()],
        outputs=[client.InferRequestedOutput(n, binary_data=binary) for n in ("score", "echo")],
    )
    echo = [v if binary else v.encode() for v in answer.as_numpy("echo").ravel()]
    right = np.allclose(answer.as_numpy("score"), [[7.0], [16.0]])
    return right and echo == arrays["name"][0].ravel().tolist()


done("strings, binary", lambda: mixed(True))
done("strings, JSON", lambda: mixed(False))


def all_outputs():
    answer = triton.infer("mixed", [tensor(n, a, t, True) for n, (a, t) in mixed_inputs().items()])
    return answer.as_numpy("next").tolist() == [[2], [3]]


done("all outputs", all_outputs)


def classes():
    answer = triton.infer(
        "mobilenet",
        [tensor("input", image(), "UINT8", True)],
        outputs=[client.InferRequestedOutput("MobilenetV1/Predictions/Reshape_1", class_count=3)],
    )
    best = answer.as_numpy("MobilenetV1/Predictions/Reshape_1")
    return best.shape == (1, 3) and int(best[0, 0].split(b":")[1]) == int(expected.argmax())


done("classification", classes)
done(
    "async",
    lambda: (
        triton.async_infer("mobilenet", [tensor("input", image(), "UINT8", True)])
        .get_result()
        .as_numpy("MobilenetV1/Predictions/Reshape_1")
        .shape
        == (1, 1001)
    ),
)
done(
    "request body of the client's own making",
    lambda: (
        triton.infer(
            "mobilenet", [tensor("input", image(), "UINT8", False)], model_version="2"
        ).get_response()["model_version"]
        == "2"
    ),
)
done.refused(
    "wrong dtype",
    client.InferenceServerException if hasattr(client, "InferenceServerException") else Exception,
    lambda: triton.infer("mobilenet", [tensor("input", image().astype("int32"), "INT32", True)]),
)
done.refused("unknown model", Exception, lambda: triton.get_model_metadata("none"))
done("unload", lambda: triton.unload_model("mixed") is None)
done("unloaded", lambda: not triton.is_model_ready("mixed"))
done("load", lambda: triton.load_model("mixed") is None and triton.is_model_ready("mixed"))
done.refused("load of an unknown model", Exception, lambda: triton.load_model("none"))
done.end()
