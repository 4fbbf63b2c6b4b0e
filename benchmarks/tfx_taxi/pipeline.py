"""TFX's taxi pipeline on this machine: `python pipeline.py FOLDER`, in TFX's own environment.

FOLDER holds `parameters.json`, `module.py` and `data/` with the rows as CSV; the pipeline's
artifacts and its metadata store go there too, so a second run takes every task from the cache.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx import v1 as tfx


def pipeline(folder: Path, parameters: dict) -> tfx.dsl.Pipeline:
    """The eight tasks, each with TFX's defaults but for steps, batches and evaluation."""
    module = str(folder / "module.py")
    examples = tfx.components.CsvExampleGen(input_base=str(folder / "data"))
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.SchemaGen(
        statistics=statistics.outputs["statistics"], infer_feature_shape=True
    )
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"], schema=schema.outputs["schema"], module_file=module
    )
    trainer = tfx.components.Trainer(
        module_file=module,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(num_steps=parameters["steps"]),
        eval_args=tfx.proto.EvalArgs(num_steps=parameters["validation_steps"]),
        custom_config={"batch_size": parameters["batch_size"]},
    )
    config = json_format.ParseDict(parameters["eval_config"], tfma.EvalConfig())
    config.model_specs.add(
        signature_name="serving_default",
        label_key=parameters["label"],
        preprocessing_function_names=["transform_features"],
    )
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        eval_config=config,
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(folder / "pushed"))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="taxi",
        pipeline_root=str(folder / "artifacts"),
        components=[
            examples,
            statistics,
            schema,
            validator,
            transform,
            trainer,
            evaluator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(folder / "metadata.db")
        ),
        beam_pipeline_args=["--direct_running_mode=in_memory"],
    )


if __name__ == "__main__":
    place = Path(sys.argv[1])
    given = json.loads((place / "parameters.json").read_text())
    tfx.orchestration.LocalDagRunner().run(pipeline(place, given))
