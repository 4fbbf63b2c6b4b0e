"""Runs that events start: `edgeline triggers serve FILE`.

Servers on devices tell of drift, of values out of range and of decay (`edgeline.server.watching`).
A file says which of these events, from how many devices, start which pipeline. What is decided and
what has run is kept in SQLite, so that neither a restart nor a kill loses a run or starts it twice.
"""
