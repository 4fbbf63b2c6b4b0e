"""One folder a component: the face in `component.py`, the worker beside it."""
