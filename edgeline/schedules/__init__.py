"""Recurring runs kept in a file: `edgeline schedules diff|apply|prune`.

Kubeflow's own object for them cannot be applied from Git: its CRD requires a status, and its
runs need a row in KFP's database. So a file says what shall be, and a reconciler makes it so.
"""
