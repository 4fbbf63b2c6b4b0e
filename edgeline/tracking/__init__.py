"""What runs and published versions tell MLflow."""
