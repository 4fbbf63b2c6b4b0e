"""Offline checks of compiled pipelines and Kubernetes manifests: `edgeline lint`."""
