"""Handwritten digits: which of ten is it? A vision model that a whole NPU takes."""
