"""The calls: Open Inference Protocol, TensorFlow Serving, KServe v1, administration."""
