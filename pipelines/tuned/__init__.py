"""The pipeline tuned."""
