"""A pipeline that nobody compiled."""
