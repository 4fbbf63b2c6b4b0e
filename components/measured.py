"""What the numbers mean that components tell of a run: those of their Metrics outputs.

A name in capitals stands for any: `val_NAME` for `val_auc` and all others that begin so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SHARED = {
    "auc": "Area under the ROC curve, exact up to 1,048,576 rows.",
    "accuracy": "Share of rows whose decision is right.",
    "mean_squared_error": "Mean of the squared distances from the label.",
}
_EVALUATED = {
    "example_count": "Rows that were evaluated.",
    "weighted_example_count": "The sum of their weights, where rows have some.",
    **_SHARED,
    "auc_tfma": "TFMA's estimate of auc, which the thresholds of eval_config are about.",
    "auc_precision_recall": "Area under the curve of precision over recall.",
    "precision": "Of the rows that the model says yes to, the share that is one.",
    "recall": "Of the rows that are a yes, the share that the model finds.",
    "binary_crossentropy": "Mean of -log of the score that the label's class got.",
    "sparse_categorical_crossentropy": "Mean of -log of the score that the label's class got.",
    "root_mean_squared_error": "Root of the mean of the squared distances from the label.",
    "mean_absolute_error": "Mean distance from the label.",
    "squared_pearson_correlation": "Squared correlation of prediction and label, from 0 to 1.",
    "mean_label": "Mean of the label; of a binary one the share of yes.",
    "mean_prediction": "Mean of the predictions.",
    "calibration": "Sum of the predictions over that of the labels: 1 is calibrated on average.",
    "demographic_parity_difference": "Largest less smallest share of yes among groups.",
    "demographic_parity_ratio": "Smallest over largest share of yes among groups: 1 is alike.",
    "equalised_odds_difference": "The larger of the two next: of true and false positive rates.",
    "equal_opportunity_difference": "Largest less smallest true positive rate among groups.",
    "calibration_difference": "Largest less smallest expected calibration error among groups.",
    "decision_threshold": "The score above which decision_goal makes a prediction a yes.",
    "decision_precision": "Precision at that threshold.",
    "decision_recall": "Recall at that threshold.",
    "decision_f1": "Harmonic mean of these two.",
    "decision_NAME_at_0.5": "The same at 0.5, to compare with.",
    "NAME": "Any other metric that eval_config asks for, by TFMA's name for it.",
}
_COMPILED = {
    "size_bytes": "Bytes of what was compiled.",
    "share_on_accelerator": "Share of the operators that the accelerator runs, from 0 to 1.",
    "max_difference": "Largest difference of an answer from the model that came.",
    "max_difference_before_compiler": "The same of what the compiler was given; the rest runs on "
    "the device alone.",
    "operators": "Operators of the compiled model.",
    "operator_kinds": "Kinds of operators, for each of which the firmware needs its kernel.",
    "opset": "Version of ONNX's operators.",
    "arena_bytes": "RAM that tflite-micro needs for tensors.",
    "flash_bytes": "Bytes of the model in flash.",
    "on_chip_flash_bytes": "Bytes of it in the flash on the chip.",
    "sram_bytes": "SRAM that Vela plans with.",
    "dram_bytes": "DRAM that Vela plans with.",
    "macs": "Multiplications and additions of a row on the Ethos-U.",
    "npu_cycles": "Vela's estimate of the cycles of a row on the NPU.",
    "estimated_cycles": "Vela's estimate of all cycles of a row.",
    "estimated_ms": "Vela's estimate of the time of a row, in milliseconds.",
    "segments": "Parts of a pipeline, one for each Edge TPU.",
    "subgraphs": "Pieces that the Edge TPU runs.",
    "cached_bytes": "Parameters in the Edge TPU's memory.",
    "cache_left_bytes": "What is left of that memory.",
    "streamed_bytes": "Parameters that are sent anew for each row.",
    "instruction_bytes": "Bytes of the Edge TPU's instructions.",
    "edgetpu_runtime": "Version of the Edge TPU's runtime that is needed at least.",
    "engine_bytes": "Bytes of TensorRT's engine, where it was built here.",
    "context_bytes": "Bytes of Qualcomm's context.",
    "packed_bytes": "Bytes of the file for the IMX500.",
    "xnnpack_operators": "Operators that XNNPACK runs on the CPU.",
    "xnnpack_partitions": "Pieces in which it runs them.",
}
_VERIFIED = {
    "max_difference": "Largest difference of an output of the split, relative above 1.",
    "mean_difference": "Mean of these differences.",
    "changed_decisions": "Rows whose decision is another one on the edge.",
    "probes": "Rows that the split does not hold and both models were asked.",
    "probes_that_differ": "Those of them whose answers differ by more than is allowed.",
    "edge_NAME": "A metric of the edge model: auc, accuracy or mean_squared_error.",
    "cloud_NAME": "The same of the trained model, on the same rows.",
    "latency_p50_ms": "Half of the calls of one row took no longer, in milliseconds, here.",
    "latency_p99_ms": "99 of 100 calls of one row took no longer, in milliseconds, here.",
    "peak_memory_mb": "Most memory of the process that ran the model, in MB.",
}
_EXPLAINED = {
    "explained_rows": "Rows of which it is told what the prediction rests on.",
    "agreement_median": "Median over rows of the rank correlation of what each feature, or patch "
    "of a picture, adds in the cloud and in the edge model: 1 is the same order.",
    "agreement_lowest_5_percent": "One row in twenty has at most this rank correlation.",
    "gradients_and_shap_median": "Median rank correlation of the cloud model's integrated "
    "gradients and the edge model's permutation SHAP.",
    "completeness_error": "By how much the gradients of a row, added up, miss its score's "
    "difference from the baseline's, at most, as a share of the score's scale.",
    "share of NAME": "What the feature adds to scores on average, in either direction, as a share "
    "of what all features add. The ten largest.",
}
_MONITORED = {
    "window_rows": "Rows of the version in the window.",
    "rows_left_out": "Rows and lines that do not fit the model, have no time, or are damaged.",
    "rows_before_window": "Rows of before the window in files that were read: late, or of a file "
    "that was being filled as it began.",
    "rows_after_window": "Rows that were met after the window, by their own time.",
    "rows_of_other_versions": "Rows of the window that another version answered.",
    "files_damaged": "Files that could not be read to their end.",
    "columns_drifting": "Columns of inputs and outputs that drift.",
    "columns_not_compared": "Columns of the reference that no row has.",
    "columns_out_of_range": "Features with a value outside their range.",
    "largest_psi": "Largest population stability index of a column.",
    "estimated_NAME": "A metric as the calibrated scores let expect it, without labels.",
    "measured_NAME": "A metric of the rows that have their label.",
    "labelled_rows": "Rows that have their label.",
    "labels_unknown": "Labels that have no answer in the window.",
    "concept_drift": "1 where labels come about otherwise than in training, else 0.",
    "events": "Events that were made, and sent where there is a receiver.",
}
METRICS: Mapping[str, Mapping[str, str]] = {
    "train": {
        "loss": "Mean loss of the training rows in the epoch that is kept.",
        "val_loss": "Mean loss of eval_split.",
        **{f"val_{name}": f"{about} On eval_split." for name, about in _SHARED.items()},
        "NAME": "Any other number that build_model compiles, as Keras estimates it in training.",
        "val_NAME": "The same on eval_split.",
    },
    "analyze": _EVALUATED,
    "convert": {
        "size_bytes": "Bytes of the edge model.",
        "size_share_of_source": "The same as a share of the model that came.",
        "max_difference": "Largest difference of an answer from the model that came, on some rows.",
    },
    "compile": _COMPILED,
    "verify": _VERIFIED,
    "explain": _EXPLAINED,
    "train_candidate": {**_EVALUATED, "size_bytes": "Bytes of the edge model."},
    "monitor": _MONITORED,
    "tune": {
        "trials": "Trials that count.",
        "parameters": "Weights of the network of the chosen trial.",
        "size_bytes": "Bytes of its edge model.",
        **_SHARED,
        "cloud_NAME": "The same of the trained model, before it was converted.",
        "TARGET.NAME": "What compile and verify tell of it, for a target.",
        "NAME": "What verify tells of its edge model.",
    },
}


def meaning(component: str, metric: str) -> str:
    """What a number of a component means; "" where nothing is said of it.

    Args:
        metric: its name, such as `val_auc`.
    """
    of_component = METRICS.get(component, {})
    if metric in of_component:
        return of_component[metric]
    for name, about in sorted(of_component.items(), key=lambda each: -len(each[0])):
        pattern = re.sub(r"[A-Z]{2,}", "\0", name)
        if "\0" in pattern and re.fullmatch(re.escape(pattern).replace("\0", ".+"), metric):
            return about
    return ""
