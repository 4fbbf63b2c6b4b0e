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
OPTIONS_REFUSED = {True: ("label_smoothing", "from_logits"), False: ("top_k", "class_id")}
"""Options of a metric's config, of means and of the others."""
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
