"""A new version beside the old one: canary and shadow."""
