"""How a published model fares on what devices have met since."""
