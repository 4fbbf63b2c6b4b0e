"""`tabular`: the generic pipeline with its own defaults."""

from edgeline.pipelines.tabular.graph import graph as graph
from edgeline.pipelines.tabular.graph import specialise
from edgeline.pipelines.tabular.graph import tabular as tabular

pipeline = specialise("tabular", "From raw rows to a published edge model.")
