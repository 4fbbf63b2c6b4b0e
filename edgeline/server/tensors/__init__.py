"""Tensors on the wire: JSON, binary, pictures."""
