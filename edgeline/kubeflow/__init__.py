"""What Kubeflow Pipelines is asked, with which token, and what a version there is called."""
