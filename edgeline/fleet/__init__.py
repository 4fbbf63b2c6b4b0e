"""A fleet of devices: what they report, and what follows from it for the waves of versions."""
