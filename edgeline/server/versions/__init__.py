"""From a version that is found to one that is served: sources, trial, verdicts."""
