"""Which extra of edgeline brings a package that is missing."""

from __future__ import annotations

EXTRA_OF = {
    "ai_edge_quantizer": "quantise",
    "tensorflow_model_optimization": "quantise",
    "tf_keras": "quantise",
    "tflite_micro": "tflite-micro",
    "ethosu": "ethos-u",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxruntime_qnn": "qualcomm",
    "onnxsim": "onnx",
    "tf2onnx": "onnx",
    "openvino": "openvino",
    "tvm": "tvm",
    "ziglang": "tvm",
    "huggingface_hub": "hub",
    "kagglehub": "hub",
    "PIL": "serve",
    "tuf": "serve",
    "securesystemslib": "serve",
    "docker": "docker",
    "kfp": "pipelines",
    "kubernetes": "pipelines",
    "minio": "pipelines",
    "msgspec": "pipelines",
    "dulwich": "pipelines",
    "fsspec": "pipelines",
    "matplotlib": "pipelines",
    "tensorflow_metadata": "pipelines",
    "apache_beam": "train",
    "keras": "train",
    "tensorflow": "train",
    "tensorflow_model_analysis": "train",
    "tensorflow_transform": "train",
    "ai_edge_litert": "serve",
    "google_crc32c": "pipelines",
    "hpack": "serve",
    "httptools": "serve",
    "orjson": "serve",
    "simdjson": "serve",
    "uvloop": "serve",
}


def install_hint(error: ModuleNotFoundError) -> str:
    """A sentence with the command that installs what was not found."""
    package = (error.name or "").partition(".")[0]
    if package == "edgeline":
        return f"{error.name} is missing from this installation: install edgeline again."
    extra = EXTRA_OF.get(package, "all")
    return f"Package {package} is not installed: pip install 'edgeline[{extra}]'"
