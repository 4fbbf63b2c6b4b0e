"""Signed updates: what is offered, fetched and kept on disk."""
