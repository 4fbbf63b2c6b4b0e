"""Where pipelines run: one small typed file an environment, applied when one is compiled.

The files here are starting points: copy one into your repository, put your bucket, project
and secret names in, and compile with `--env path/to/it.yaml`.
"""

NAMES = ("laptop", "onprem", "gcp", "aws", "azure", "edge")  # each is a file here
