"""The metrics of an EvalConfig that are computed on one machine, by name: what pipelines offer.

TensorFlow Model Analysis is not imported here; the tests hold the list to what `metrics.plans`
takes. With `beam_options` the component `analyze` computes all of TFMA's.
"""

from __future__ import annotations

METRICS = (
    *("AUC", "AUCPrecisionRecall", "BalancedAccuracy", "BinaryAccuracy", "BinaryCrossEntropy"),
    *("BinaryCrossentropy", "Calibration", "ConfusionMatrixAtThresholds", "DiagnosticOddsRatio"),
    *("ExampleCount", "F1Score", "FN", "FNR", "FP", "FPR", "FairnessIndicators", "FallOut"),
    *("FalseDiscoveryRate", "FalseNegatives", "FalseOmissionRate", "FalsePositives"),
    *("FowlkesMallowsIndex", "Informedness", "Markedness", "MatthewsCorrelationCoefficient"),
    *("MaxRecall", "MeanAbsoluteError", "MeanLabel", "MeanPrediction", "MeanSquaredError"),
    *("MissRate", "MultiClassConfusionMatrixAtThresholds", "NPV", "NegativeLikelihoodRatio"),
    *("NegativePredictiveValue", "PPV", "PositiveLikelihoodRatio", "Precision"),
    *("PrecisionAtRecall", "PredictedPositiveRate", "Prevalence", "PrevalenceThreshold", "Recall"),
    *("RecallAtFalsePositiveRate", "RecallAtPrecision", "RootMeanSquaredError"),
    *("SensitivityAtSpecificity", "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
    *("Specificity", "SpecificityAtSensitivity", "SquaredPearsonCorrelation", "TN", "TNR", "TP"),
    *("TPR", "ThreatScore", "ThresholdAtRecall", "TrueNegatives", "TruePositives"),
    "WeightedExampleCount",
)
# of other tasks than edgeline's: they are taken, and would not be of use
UNOFFERED = (
    *("ObjectDetectionMaxRecall", "ObjectDetectionPrecision", "ObjectDetectionRecall"),
    *("SetMatchPrecision", "SetMatchRecall"),
)
# sums over rows; all others are made of confusion matrices
MEANS = (
    *("ExampleCount", "WeightedExampleCount", "MeanLabel", "MeanPrediction", "Calibration"),
    *("MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError", "BinaryCrossentropy"),
    *("BinaryCrossEntropy", "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
    "SquaredPearsonCorrelation",
)
COUNTS = ("ExampleCount", "WeightedExampleCount", "MeanLabel")  # of any task
MULTICLASS = (
    *("MultiClassConfusionMatrixAtThresholds", "SparseCategoricalAccuracy"),
    "SparseCategoricalCrossentropy",
)
BINARY_MEANS = ("BinaryCrossentropy", "BinaryCrossEntropy")
OPTIONS_REFUSED = {True: ("label_smoothing", "from_logits"), False: ("top_k", "class_id")}
"""Options of a metric's config, of means and of the others."""
THRESHOLDS = {  # the fields of a metric's threshold
    "value_threshold": ("lower_bound", "upper_bound"),
    "change_threshold": ("absolute", "relative", "direction"),
}
METRICS_SPEC_REFUSED = ("binarize", "aggregate", "query_key")
OUTPUT = "prediction"  # the only output of a model here, as output_names and the like may say
FIELDS = {  # of TFMA's messages, by the field that holds them
    "": ("model_specs", "slicing_specs", "cross_slicing_specs", "metrics_specs", "options"),
    "metrics_specs": (
        *("metrics", "model_names", "output_names", "output_weights", "binarize", "aggregate"),
        *("example_weights", "query_key", "thresholds", "per_slice_thresholds"),
        "cross_slice_thresholds",
    ),
    "metrics": (
        *("class_name", "module", "config", "threshold", "per_slice_thresholds"),
        "cross_slice_thresholds",
    ),
    "slicing_specs": ("feature_keys", "feature_values", "slice_keys_sql"),
}

OF_TASK = {  # those that mean something of the task's labels and predictions
    "binary_classification": tuple(name for name in METRICS if name not in MULTICLASS),
    "multiclass_classification": (*COUNTS, *MULTICLASS),
    "regression": tuple(name for name in MEANS if name not in (*MULTICLASS, *BINARY_MEANS)),
}


def misfit(name: str, task: str) -> str:
    """Why a metric is not of a task, without its place; "" where it is, or is not known here."""
    fitting = OF_TASK.get(task, METRICS)
    if name in fitting or name not in METRICS:
        return ""
    return f"{name!r} is not for {task}, whose metrics are {', '.join(fitting)}: take one of these."
