"""Every call of kserve's REST and gRPC clients that applies."""

import asyncio
import sys

import numpy as np
from checks import Checks, image, mixed_inputs
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

http, grpc = sys.argv[1:3]
done = Checks()
loop = asyncio.new_event_loop()
run = loop.run_until_complete
url = f"http://127.0.0.1:{http}"
OUTPUT = "MobilenetV1/Predictions/Reshape_1"


def request(model, arrays, binary):
    inputs = []
    for name, (array, datatype) in arrays.items():
        entry = InferInput(name, list(array.shape), datatype)
        entry.set_data_from_numpy(array, binary_data=binary)
        inputs.append(entry)
    return InferRequest(model, inputs)


async def rest(version):
    return InferenceRESTClient(RESTConfig(protocol=version, retries=1, timeout=60))


v2, v1 = run(rest("v2")), run(rest("v1"))
done("v2 live", lambda: run(v2.is_server_live(url)))
done("v2 ready", lambda: run(v2.is_server_ready(url)))
done("v2 model ready", lambda: run(v2.is_model_ready(url, "mobilenet")))
done("v1 live", lambda: run(v1.is_server_live(url)))
done("v1 model ready", lambda: run(v1.is_model_ready(url, "mobilenet")))


def infer(binary):
    asked = request("mobilenet", {"input": (image(), "UINT8")}, binary)
    answer = run(v2.infer(url, asked, model_name="mobilenet"))
    return answer.outputs[0].as_numpy().shape == (1, 1001)


def mixed(binary):
    answer = run(v2.infer(url, request("mixed", mixed_inputs(), binary), model_name="mixed"))
    found = {output.name: output.as_numpy() for output in answer.outputs}
    return np.allclose(found["score"].reshape(-1), [7.0, 16.0])


def rows():
    answer = run(v1.infer(url, {"instances": image().tolist()}, model_name="mobilenet"))
    return np.array(answer["predictions"]).shape == (1, 1001)


done("v2 JSON", lambda: infer(False))
done("v2 binary", lambda: infer(True))
done("v2 strings, binary", lambda: mixed(True))
done("v1 rows", rows)


async def calls():
    client = InferenceGRPCClient(f"127.0.0.1:{grpc}", timeout=60)
    checks = [
        ("gRPC live", await client.is_server_live()),
        ("gRPC ready", await client.is_server_ready()),
        ("gRPC model ready", await client.is_model_ready("mobilenet")),
        ("gRPC unknown model", not await client.is_model_ready("none")),
    ]
    for binary in (True, False):
        answer = await client.infer(request("mobilenet", {"input": (image(), "UINT8")}, binary))
        right = answer.outputs[0].as_numpy().shape == (1, 1001)
        checks.append((f"gRPC infer {binary}", right))
        answer = await client.infer(request("mixed", mixed_inputs(), binary))
        found = {output.name: output.as_numpy() for output in answer.outputs}
        right = np.allclose(found["score"].reshape(-1), [7.0, 16.0])
        checks.append((f"gRPC strings {binary}", right))
    await client.close()
    return checks


for name, right in run(calls()):
    done(name, lambda right=right: right)
done.refused(
    "unknown model",
    Exception,
    lambda: run(v2.infer(url, request("none", {}, True), model_name="none")),
)
done.end()
