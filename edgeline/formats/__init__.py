"""Formats of files and values, without an idea of what they are for."""
