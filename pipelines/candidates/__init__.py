"""The pipeline candidates."""
