"""The list of devices: who they are, what they run, how they are.

`edgeline fleet serve` takes signed statuses of devices (see `edgeline.server.fleet`), keeps the
last of each, and tells what the fleet runs.
"""
