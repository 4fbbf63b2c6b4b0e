"""`digits`: the vision pipeline with its module, data and thresholds."""

from edgeline.pipelines.specialise import specialise
from edgeline.pipelines.vision.pipeline import vision

EVALUATION = {
    "metrics_specs": [
        {
            "metrics": [
                {
                    "class_name": "SparseCategoricalAccuracy",
                    "per_slice_thresholds": [
                        {
                            "slicing_specs": [{}],
                            "threshold": {"value_threshold": {"lower_bound": 0.97}},
                        },
                        {  # no digit may be sacrificed to the others
                            "slicing_specs": [{"feature_keys": ["label"]}],
                            "threshold": {"value_threshold": {"lower_bound": 0.9}},
                        },
                    ],
                },
                {"class_name": "SparseCategoricalCrossentropy"},
                {"class_name": "MultiClassConfusionMatrixAtThresholds"},
                {"class_name": "ExampleCount"},
            ]
        }
    ],
    "slicing_specs": [{}, {"feature_keys": ["label"]}],
}

pipeline = specialise(
    vision,
    "digits",
    "Handwritten digits: which of ten is it, on a CPU, an Edge TPU and an NPU?",
    data="package://edgeline.pipelines.digits/digits.parquet",
    module="edgeline.pipelines.digits.module",
    label="digit",
    model_name="digits",
    destination="edgeline-models",
    schema={"images": {"image": [28, 28, 1]}},
    training={"steps_per_epoch": 100},
    evaluation={"eval_config": EVALUATION},
    edge={
        "require_mapped": 1.0,
        "targets": ["ethos-u55", "tflite-micro", "onnx", "openvino", "tvm"],
    },
)
