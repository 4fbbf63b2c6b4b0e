"""From a model that was trained elsewhere to published edge models."""
