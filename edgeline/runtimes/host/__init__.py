"""Host operations: what of a transform reads text, computed beside the model exactly as TensorFlow
does. Needs numpy and the standard library alone."""
