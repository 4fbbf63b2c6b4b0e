"""Run a compiled pipeline on this machine with kfp.local."""
