"""`python -m edgeline`."""

from edgeline.cli import main

main()
