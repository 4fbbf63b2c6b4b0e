"""A server as one device of a fleet: who it is, and what it tells of itself."""
