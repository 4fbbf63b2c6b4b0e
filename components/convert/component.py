"""The face of convert."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def convert(
    model: Input[Model],
    examples: Input[Dataset],
    edge_model: Output[Model],
    conversion_report: Output[HTML],
    conversion_metrics: Output[Metrics],
    quantisation: str = "dynamic",
    representative_split: str = "train",
    representative_rows: int = 500,
    time_limit: int = 900,
    io: str = "float",
    batch: int = 0,
    per_channel: bool = True,
    max_drop: float = 0.01,
    labelled_split: str = "eval",
    decision_threshold: float = 0.5,
    requirements: dict = {},  # noqa: B006
):
    """Convert a trained model to LiteRT, the transform inside: raw features in, as in the cloud.

    An imported float LiteRT file is quantised, by recipes of ai-edge-quantizer.

    Args:
        model: The trained model (model/v1), or an imported float LiteRT file (edge_model/v1), which
            takes no fp16, auto, uint8, batch or per_channel.
        examples: Raw examples (examples/v1); representative rows are taken from them.
        edge_model: The LiteRT model with signature, labels and operator table (edge_model/v1).
        conversion_report: Sizes, operators and the difference from the trained model.
        conversion_metrics: Size in bytes, share of the size of the model that came, largest
            difference.
        quantisation: float, fp16, dynamic (int8 weights), int8, int16x8 (int16 activations), a
            recipe of ai-edge-quantizer (dynamic_wi8_afp32, dynamic_wi4_afp32,
            dynamic_wi4_afp32_octav, dynamic_wi4_afp32_mse, dynamic_wi4_afp32_gptq,
            dynamic_wi4_afp32_hadamard, weight_only_wi8_afp32, weight_only_wi4_afp32,
            static_wi8_ai8, static_wi8_ai16, or the path or URI of a .json file), or auto: the
            smallest that holds max_drop.
        representative_split: The split that representative rows are taken from.
        representative_rows: At most how many, spread evenly over the split.
        time_limit: Seconds of a core that any one step of the conversion may take.
        io: Inputs and outputs of an int8 model: float, int8 or uint8. A transform's inputs stay.
        batch: Rows that the model takes at once, as compilers for accelerators need it; 0 for any.
        per_channel: Whether int8 weights have a scale a channel, or one a tensor.
        max_drop: For auto: how much worse than the trained model any metric may be.
        labelled_split: For auto: the split on whose rows this is judged.
        decision_threshold: Above this score a binary prediction is a yes: for auto, and kept with
            the edge model for verify and the bundle.
        requirements: What the devices that run this file must reach, as the object in a
            requirements.yaml; what the file tells (its size) is said here, and verify judges.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.convert.convert import convert as work

    result = work(
        model_path=model.path,
        examples_path=examples.path,
        edge_model_path=edge_model.path,
        conversion_report_path=conversion_report.path,
        quantisation=quantisation,
        representative_split=representative_split,
        representative_rows=representative_rows,
        time_limit=time_limit,
        io=io,
        batch=batch,
        per_channel=per_channel,
        max_drop=max_drop,
        labelled_split=labelled_split,
        decision_threshold=decision_threshold,
        requirements=requirements,
    )
    record(edge_model, result.metadata, "size", "quantisation")
    record_metrics(conversion_metrics, result.metrics)
