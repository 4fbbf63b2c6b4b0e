"""What metrics are called in all artifacts (see `edgeline.runtimes.metrics`); needs no numpy."""

from __future__ import annotations

from collections.abc import Mapping

AUC, ACCURACY, MSE = "auc", "accuracy", "mean_squared_error"
AUC_TFMA = "auc_tfma"
# what Keras and TFMA call the same
NAMES: Mapping[str, str] = {
    "acc": ACCURACY,
    "binary_accuracy": ACCURACY,
    "categorical_accuracy": ACCURACY,
    "sparse_categorical_accuracy": ACCURACY,
    "mse": MSE,
    **{name: name for name in (AUC, ACCURACY, MSE)},
}
