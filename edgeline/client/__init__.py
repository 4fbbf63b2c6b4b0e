"""Run pipelines from a notebook or a program: `edgeline.Client`."""
