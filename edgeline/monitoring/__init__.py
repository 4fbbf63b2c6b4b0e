"""How a served model fares: drift, decay, values out of range, late labels, and what events tell.

The server watches its own traffic so (`edgeline.server.watching`), and the component `monitor` the
payloads that devices have kept: the same counts, statistics and events. Needs numpy alone.
"""
