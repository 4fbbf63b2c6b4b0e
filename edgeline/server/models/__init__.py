"""A model in memory: its interpreters, its pool, its batches."""
