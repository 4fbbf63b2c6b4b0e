"""KServe's Python server with a LiteRT model: `kserve_server.py MODEL HTTP_PORT GRPC_PORT`."""

import sys
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class LiteRT(Model):
    """Two interpreters, each used by one request at a time."""

    def __init__(self, name, path):
        super().__init__(name)
        self.interpreters: SimpleQueue[Interpreter] = SimpleQueue()
        for _ in range(2):
            interpreter = Interpreter(model_path=path, num_threads=1)
            interpreter.allocate_tensors()
            self.interpreters.put(interpreter)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002
        v2 = isinstance(payload, InferRequest)
        given = payload.inputs[0].as_numpy() if v2 else payload["instances"]
        interpreter = self.interpreters.get()
        (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
        array = np.asarray(given, into["dtype"]).reshape(into["shape"])
        interpreter.set_tensor(into["index"], array)
        interpreter.invoke()
        answer = interpreter.get_tensor(out["index"])
        self.interpreters.put(interpreter)
        if not v2:
            return {"predictions": answer.tolist()}
        output = InferOutput(out["name"], list(answer.shape), "UINT8")
        output.set_data_from_numpy(answer, binary_data=payload.from_grpc)
        return InferResponse(payload.id or "1", self.name, [output])


if __name__ == "__main__":
    model, http, grpc = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    server = ModelServer(http_port=http, grpc_port=grpc, workers=1, enable_latency_logging=False)
    server.start([LiteRT(Path(model).stem, model)])
