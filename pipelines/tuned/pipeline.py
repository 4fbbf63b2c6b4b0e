"""The generic pipeline with a search before the training, which goes on with the best trial's
hyperparameters."""

from edgeline.pipelines.specialise import Generic, specialise
from edgeline.pipelines.tabular.graph import graph

pipeline = specialise(
    Generic("tuned", graph), "tuned", "A search for hyperparameters, then as tabular."
)
