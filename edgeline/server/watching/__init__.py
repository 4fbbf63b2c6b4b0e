"""What is seen of a running server: logs, traces, drift, payloads, alerts."""
