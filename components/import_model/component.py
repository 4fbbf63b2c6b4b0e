"""The face of import_model."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def import_model(
    source: str,
    model: Output[Model],
    import_report: Output[HTML],
    sha256: str = "",
    task: str = "multiclass_classification",
    labels: str = "",
    label: str = "",
    label_type: str = "",
    signature: str = "",
    input_shape: list = [],  # noqa: B006
    scaling: str = "",
    logits: bool = False,
    rename: dict = {},  # noqa: B006
    to_litert: bool = False,
    cache_name: str = "",  # noqa: ARG001
) -> NamedTuple("Imported", [("kind", str)]):
    """Take in a model that was trained elsewhere. No code in it is run, no pickle is read.

    A SavedModel or Keras file becomes model/v1, as train writes it; a LiteRT file
    edge_model/v1, as convert writes it; an ONNX file onnx_model/v1, or edge_model/v1 where
    to_litert is set.

    Args:
        source: A SavedModel folder, a .keras, .h5, .tflite or .onnx file, or a .tar, .tar.gz or
            .zip of one: a path, s3://, gs://, abfs://, minio:// or https:// location,
            https://tfhub.dev/owner/name/version, kaggle://owner/model/framework/variation/version
            or hf://owner/repository@revision/file.
        model: The model with its features, labels and signature.
        import_report: What came in and what it takes and gives.
        sha256: The digest that the content must have; of a folder, that of its listing.
        task: binary_classification, multiclass_classification or regression.
        labels: A text file with the class names, one a line, at any location.
        label: The column of the examples that holds the label; empty: there is none, and the
            model is verified without metrics.
        label_type: Of that column: int64 (a class index), string (a class name) or float32;
            empty: float32 for a regression, else int64.
        signature: The signature to take; empty: serving_default, or the only one.
        input_shape: The shape of the input without the batch, where the model leaves it open; of
            an ONNX file that becomes a LiteRT file, in the file's own order.
        scaling: 0..1 or -1..1: raw pixels from 0 to 255 go in and are brought to this range
            inside the model; empty: the model gets the values as they are.
        logits: The prediction is logits: a softmax (binary: a sigmoid) is put behind it.
        rename: Other names for inputs and outputs of the model; a sole output is prediction.
        to_litert: An ONNX file is converted to LiteRT by onnx2tf, in a Python of its own that
            EDGELINE_ONNX2TF_PYTHON names; images with the channels first become images with the
            channels last. Its answers on made-up rows must be those of the ONNX file, which stays
            beside it for verify.
        cache_name: The cache to take the result from; see ingest.

    Returns:
        kind: saved_model, keras, tflite-float, tflite (quantised already) or onnx; the first three
            can be converted. An ONNX file that became a LiteRT file is one of the tflite kinds.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.import_model.import_model import import_model as work
    from edgeline.components.import_model.import_model import kind_of
    from edgeline.components.import_model.wanted import Wanted

    found = work(
        source=source,
        model_path=model.path,
        import_report_path=import_report.path,
        sha256=sha256,
        labels=labels,
        wanted=Wanted(
            task=task,
            label=label,
            label_type=label_type,
            signature=signature,
            input_shape=tuple(map(int, input_shape)),
            scaling=scaling,
            logits=logits,
            rename=rename,
            to_litert=to_litert,
        ),
    )
    record(model, found, "task")
    return (kind_of(found),)
