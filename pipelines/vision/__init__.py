"""From image files to published edge models for accelerators."""
