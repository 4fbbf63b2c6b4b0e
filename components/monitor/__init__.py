"""How a published model fares on the payloads that devices have kept."""
