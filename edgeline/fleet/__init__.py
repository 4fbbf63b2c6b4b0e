"""A fleet: the list of its devices, and the waves in which versions reach them.

`edgeline fleet serve` takes signed statuses of devices (see `edgeline.server.fleet`), keeps the
last of each, and tells what the fleet runs. `edgeline fleet watch` reads that, and opens the next
wave of a version or withdraws it.
"""
