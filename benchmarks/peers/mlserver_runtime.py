"""A LiteRT model as an MLServer runtime."""

from queue import SimpleQueue

from ai_edge_litert.interpreter import Interpreter
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class LiteRT(MLModel):
    """Two interpreters, each used by one request at a time."""

    async def load(self):
        self.interpreters: SimpleQueue[Interpreter] = SimpleQueue()
        for _ in range(2):
            interpreter = Interpreter(model_path=self.settings.parameters.uri, num_threads=1)
            interpreter.allocate_tensors()
            self.interpreters.put(interpreter)
        return True

    async def predict(self, payload):
        given = NumpyCodec.decode_input(payload.inputs[0])
        interpreter = self.interpreters.get()
        (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.set_tensor(into["index"], given.astype(into["dtype"]).reshape(into["shape"]))
        interpreter.invoke()
        answer = interpreter.get_tensor(out["index"])
        self.interpreters.put(interpreter)
        output = NumpyCodec.encode_output(out["name"], answer)
        return InferenceResponse(model_name=self.name, outputs=[output])
