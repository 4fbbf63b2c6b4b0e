"""A LiteRT model for Triton's Python backend; it lies beside this file as `model.tflite`."""

from pathlib import Path

import triton_python_backend_utils as triton
from ai_edge_litert.interpreter import Interpreter


class TritonPythonModel:
    """One interpreter; Triton runs two such instances."""

    def initialize(self, args):
        file = Path(args["model_repository"]) / args["model_version"] / "model.tflite"
        self.interpreter = Interpreter(model_path=str(file), num_threads=1)
        self.interpreter.allocate_tensors()
        (self.into,) = self.interpreter.get_input_details()
        (self.out,) = self.interpreter.get_output_details()

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        given = triton.get_input_tensor_by_name(request, self.into["name"]).as_numpy()
        self.interpreter.set_tensor(self.into["index"], given)
        self.interpreter.invoke()
        answer = self.interpreter.get_tensor(self.out["index"])
        return triton.InferenceResponse([triton.Tensor(self.out["name"], answer)])
