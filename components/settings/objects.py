"""The parameters of edgeline's pipelines: what stands in the form of a run, and what may be in it.

A few are required. The others are fields of objects by theme. Type, default, range, choices and
description of each stand here and nowhere else: the command line's help, the check of what was
given, the table in a pipeline's description and the component `settings` are made of it. A field
is called as the parameter of the component that takes it.

KFP's form sorts by name, so an object is called `with_training` there: what is required comes
first, and the objects stay together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from edgeline.artifacts.declared_card import FIELDS as CARD_FIELDS
from edgeline.artifacts.declared_card import CardField
from edgeline.formats import quantisation
from edgeline.sites.settings import DEFAULTS as SITE

PREFIX = "with_"
TUNED = "tuned"  # the kind of form that has a search
CACHE_NAME = "cache_name"
Task = Literal["binary_classification", "multiclass_classification", "regression"]
QuantisationName = Annotated[
    str,
    Meta(
        description=f"{', '.join(quantisation.NAMES)}, or a recipe's .json file.",
        extra={"choices": quantisation.NAMES, "or": ".json"},
        examples=["int8"],
    ),
]


RequireRaw = Annotated[
    bool,
    Meta(
        description="Whether a feature that no device can make of raw ones is refused before the "
        "training; else it is sent to the model transformed.",
        examples=[False],
    ),
]


ExplainedRows = Annotated[
    int,
    Meta(
        description="How many rows of eval are explained: what each feature adds, and whether "
        "cloud and edge agree on it; 0: none.",
        ge=0,
        le=100_000,
        examples=[500],
    ),
]
ExplainedSlices = Annotated[
    list[str],
    Meta(
        description="Columns by whose values the importance of features is told, too.",
        examples=[["hour"]],
    ),
]


Fairness = Annotated[
    dict[
        Literal[
            "group",
            "mitigation",
            "criterion",
            "weight",
            "max_accuracy_drop",
            "min_rows",
            "compare",
        ],
        Any,
    ],
    Meta(
        description="The groups to compare, and a mitigation; see analyze.",
        examples=[{"group": "company", "mitigation": "thresholds"}],
    ),
]


class Required(msgspec.Struct, frozen=True):
    """What every pipeline that publishes asks for."""

    data: Annotated[
        str,
        Meta(description="Files, folders or globs, local or in an object store, comma-separated."),
    ]
    destination: Annotated[str, Meta(description="The folder or bucket to publish to.")]
    model_name: Annotated[str, Meta(description="The name to publish under.")]


class Trained(Required, frozen=True):
    """What a pipeline that trains asks for."""

    label: Annotated[str, Meta(description="The output of preprocessing_fn to predict.")]
    module: Annotated[
        str,
        Meta(
            description="The Python module with preprocessing_fn and build_model: an importable "
            "name, or a .py file, a folder with module.py or a .zip of one, here or in a store."
        ),
    ]


class Imported(Required, frozen=True):
    """What a pipeline for a model that was trained elsewhere asks for."""

    source: Annotated[
        str,
        Meta(
            description="A SavedModel folder, a .keras, .h5, .tflite or .onnx file, an archive of "
            "one, or a model hub reference, as for import_model."
        ),
    ]


class SplitSettings(msgspec.Struct, frozen=True):
    """How rows are split."""

    split_ratios: Annotated[
        dict[str, Annotated[float, Meta(ge=0)]],
        Meta(
            description="Weights of the splits; train and eval are required.",
            min_length=1,
            examples=[{"train": 8, "eval": 1}],
        ),
    ] = field(default_factory=lambda: {"train": 2, "eval": 1})
    split_key: Annotated[
        str,
        Meta(description="A column whose value determines the split; empty: the whole row does."),
    ] = ""
    split_by: Annotated[
        dict[Literal["column", "names", "time", "cuts", "stratify"], Any],
        Meta(
            description="By a column that names the splits, by time, or with each label in the "
            "same shares; see ingest.",
            examples=[{"time": "when"}],
        ),
    ] = {}
    windows: Annotated[
        dict[
            Literal["size", "time", "columns", "key", "stride", "max_gap", "kept_by"],
            Any,
        ],
        Meta(
            description="Rows of a series, in order of time, as one row; see ingest.",
        ),
    ] = {}
    sample: Annotated[
        float,
        Meta(
            description="The share of the rows to take, for a quick look; 1: all.",
            gt=0,
            le=1,
            examples=[0.05],
        ),
    ] = 1.0


class Reading(msgspec.Struct, frozen=True):
    """How the data is read."""

    delimiter: Annotated[str, Meta(description="The delimiter of CSV files.", examples=[";"])] = ","
    encoding: Annotated[
        str, Meta(description="The encoding of CSV files, for example latin-1.")
    ] = "utf-8"
    null_values: Annotated[list[str], Meta(description="CSV cells that count as missing.")] = field(
        default_factory=lambda: [""]
    )
    column_types: Annotated[
        dict[str, Literal["int64", "float", "string", "bool", "percent", "timestamp"]],
        Meta(
            description="CSV column to int64, float, string, bool, percent or timestamp (this of "
            "JSON, too); by default inferred from its values.",
        ),
    ] = {}
    decimal: Annotated[
        Literal[".", ","], Meta(description="The sign before the fraction of numbers in CSV files.")
    ] = "."
    thousands: Annotated[
        str,
        Meta(
            description="The sign between the thousands of numbers in CSV files; empty: none.",
        ),
    ] = ""
    columns: Annotated[
        dict[str, bool],
        Meta(
            description="Column to true for those to take alone, or to false for those to leave "
            "out; empty: all.",
            examples=[{"id": False}],
        ),
    ] = {}
    query: Annotated[
        str,
        Meta(
            description="Of a database, the rows to take, in SQL.",
            examples=["SELECT * FROM trips ORDER BY id"],
        ),
    ] = ""
    lengths: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        Meta(
            description="Column of lists that differ in length to the most values that one has.",
        ),
    ] = {}
    images: Annotated[
        dict[str, Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=3, max_length=3)]],
        Meta(
            description="Image column to [height, width, channels], for example "
            '{"image": [28, 28, 1]}.'
        ),
    ] = {}


class Schema(Reading, frozen=True):
    """How the data is read and checked."""

    rename: Annotated[
        dict[str, str],
        Meta(
            description="Column to its new name. Other fields of schema and splits say the names "
            "that the data has.",
            examples=[{"sepal length (cm)": "length"}],
        ),
    ] = {}
    schema_uri: Annotated[
        str,
        Meta(
            description="A fixed schema, here or in a store; empty: inferred from the training "
            "split."
        ),
    ] = ""
    environment: Annotated[
        str,
        Meta(
            description="The environment of the fixed schema that the data are in; empty: every "
            "feature is asked for.",
        ),
    ] = ""
    infer_ranges: Annotated[
        bool,
        Meta(
            description="Whether an inferred schema has ranges of numbers: what was seen, wider "
            "by its width, but not across zero."
        ),
    ] = False
    baseline_uri: Annotated[
        str,
        Meta(
            description="Statistics of an earlier run, here or in a store, to measure drift from; "
            "empty: none.",
        ),
    ] = ""
    skew_threshold: Annotated[
        float,
        Meta(
            description="Greatest distance of a split from the training split; 1: never too far.",
            ge=0,
            le=1,
        ),
    ] = 0.1
    drift_threshold: Annotated[
        float,
        Meta(
            description="Greatest distance of a split from the baseline's; 1: never too far.",
            ge=0,
            le=1,
        ),
    ] = 0.1
    comparison_rows: Annotated[
        int,
        Meta(
            description="Rows of a split below which only the fixed schema's own comparators are "
            "judged.",
            ge=1,
        ),
    ] = 500
    on_anomalies: Annotated[
        Literal["fail", "flag"],
        Meta(description="Whether anomalies fail the run or are reported.", examples=["fail"]),
    ] = "flag"


class Training(msgspec.Struct, frozen=True):
    """How the model is trained, the transform included."""

    task: Annotated[Task, Meta(description="What the model does.")] = "binary_classification"
    steps: Annotated[
        int, Meta(description="Total number of training batches.", ge=1, examples=[300])
    ] = 1000
    batch_size: Annotated[int, Meta(description="Rows per batch.", ge=1)] = 40
    steps_per_epoch: Annotated[
        int, Meta(description="Batches per epoch; 0: one pass over the training split.", ge=0)
    ] = 0
    patience: Annotated[
        int,
        Meta(
            description="Epochs without a lower val_loss after which training stops; 0: never.",
            ge=0,
        ),
    ] = 0
    hyperparameters: Annotated[
        dict[str, Any], Meta(description="Passed to build_model.", examples=[{"units": 16}])
    ] = {}
    label_vocabulary: Annotated[
        str,
        Meta(description="The vocab_filename of the label; its entries are the class names."),
    ] = ""
    class_weights: Annotated[
        str,
        Meta(
            description="How much a row counts in the loss by its class: balanced, or weights by "
            "name or number; empty: all the same.",
            examples=["yes=20,no=1"],
        ),
    ] = ""
    gradient_norms: Annotated[
        bool,
        Meta(
            description="Whether the norm of the gradients is told by step and by epoch; of "
            "several GPUs one is used then."
        ),
    ] = False
    weight_column: Annotated[
        str,
        Meta(
            description="The column that says how much a row counts in training and evaluation; "
            "it is not a feature. Empty: each counts once.",
        ),
    ] = ""
    seed: Annotated[int, Meta(description="The seed for weights and shuffling.", ge=0)] = 0
    checkpoint_dir: Annotated[
        str, Meta(description="A folder for checkpoints, to resume interrupted training.")
    ] = ""
    beam_options: Annotated[
        list[str],
        Meta(
            description="Apache Beam options for validate, transform and analyze, such as "
            "--job_endpoint=host:8099; empty: run in each task's process.",
        ),
    ] = []
    analyzer_cache: Annotated[
        str, Meta(description="A folder for tf.Transform's analyzer cache, for data that grows.")
    ] = ""


class DistributedTraining(Training, frozen=True):
    """How the model is trained, the transform included."""

    workers: Annotated[
        int,
        Meta(
            description="Processes that share each batch: of this machine, or pods of a Job in a "
            "cluster, which needs checkpoint_dir.",
            ge=1,
            le=1000,
            examples=[2],
        ),
    ] = 1
    mixed_precision: Annotated[
        Literal["", "bfloat16", "float16"],
        Meta(
            description="In which numbers the network computes while it trains; empty: as "
            "build_model says.",
        ),
    ] = ""
    jit_compile: Annotated[
        bool, Meta(description="Whether XLA compiles the training step; with one worker.")
    ] = False


class CandidateTraining(Training, frozen=True):
    """How the candidates are trained, the transform included."""

    candidates: Annotated[
        list[dict[str, Any]],
        Meta(
            description="Models to train side by side: each a name and what it has of its own: "
            "module, rows (a window of the data), steps, batch_size, steps_per_epoch, patience, "
            "hyperparameters, label_vocabulary, class_weights, seed.",
            extra={"file": True},
            examples=[[{"name": "small"}, {"name": "wide", "hyperparameters": {"units": 64}}]],
        ),
    ] = []


class TunedTraining(Training, frozen=True):
    """How trials and the chosen model are trained, and how the search for it goes."""

    objectives: Annotated[
        list[Any],
        Meta(
            description="What trials make better: names such as auc, size_bytes, latency_p99_ms or "
            "tflite-micro.arena_bytes, or objects with name and direction; empty: the task's "
            "metric.",
            examples=[["auc", "size_bytes"]],
        ),
    ] = []
    search_space: Annotated[
        dict[str, dict[str, Any]],
        Meta(
            description="The values of each hyperparameter: choices, or low and high, and log, "
            "step or type; empty: the module's search_space(trial).",
            extra={"file": True},
            examples=[{"units": {"choices": [16, 32]}, "rate": {"low": 0.001, "high": 0.1}}],
        ),
    ] = {}
    trials: Annotated[int, Meta(description="How many trials.", ge=1, examples=[40])] = 20
    search_seconds: Annotated[
        int, Meta(description="Seconds after which no trial begins any more; 0: none.", ge=0)
    ] = 0
    sampler: Annotated[
        Literal["tpe", "nsga2", "random"],
        Meta(description="How hyperparameters are chosen by what earlier trials gave."),
    ] = "tpe"
    sampler_seed: Annotated[int, Meta(description="The sampler's seed.", ge=0)] = 0
    pruning: Annotated[
        Literal["", "median"],
        Meta(
            description="Whether a trial whose val_loss is above the others' median is ended "
            "early; for one objective. Empty: none is."
        ),
    ] = ""
    jobs: Annotated[int, Meta(description="Trials at a time.", ge=1)] = 1
    memory_mb: Annotated[
        int,
        Meta(description="Megabytes that a step of a trial may hold; 0: any.", ge=0),
    ] = 0
    study_folder: Annotated[
        str,
        Meta(
            description="A folder that outlives the task, or postgresql://USER@HOST/NAME, for the "
            "search's journal: a later run of the same search goes on. Empty: the run's own."
        ),
    ] = ""


class Evaluation(msgspec.Struct, frozen=True):
    """How good the model must be."""

    eval_config: Annotated[
        dict[str, Any], Meta(description="A TFMA EvalConfig: metrics, slices, thresholds.")
    ] = {}
    baseline_model_uri: Annotated[
        str,
        Meta(
            description="What change thresholds compare with: a model/v1 folder, or "
            "DESTINATION/NAME/VERSION of a published model.",
            examples=["s3://bucket/baseline/model"],
        ),
    ] = ""
    baseline: Annotated[
        str,
        Meta(
            description="Of what is published under the model's name, what change thresholds "
            "compare with: latest, approved (the latest that was) or a version; empty: nothing.",
            pattern=r"^(latest|approved|[1-9][0-9]*)?\Z",
            extra={"wanted": "latest, approved or the number of a version"},
            examples=["latest"],
        ),
    ] = ""
    decision_goal: Annotated[
        str,
        Meta(
            description="What the threshold of a binary decision is chosen by: f1, recall>=0.9, "
            "precision>=0.8 or cost:false_negative=10,false_positive=1; empty: 0.5.",
            examples=["recall>=0.9"],
        ),
    ] = ""


class CandidateEvaluation(Evaluation, frozen=True):
    """How good a model must be, and which of several goes on."""

    choose_by: Annotated[
        str,
        Meta(
            description="What decides which candidate or trial goes on, a metric of all evaluation "
            "rows; empty: auc, accuracy or mean_squared_error, the first that is computed, or of "
            "trials the first objective.",
            examples=["auc"],
        ),
    ] = ""
    direction: Annotated[
        Literal["", "maximize", "minimize"],
        Meta(description="Which end of it is better; empty: the usual one, where it is known."),
    ] = ""
    tie: Annotated[
        Literal["first", "smaller", "faster"],
        Meta(description="Of equally good ones: the first, or by the edge model."),
    ] = "first"
    tie_within: Annotated[
        float,
        Meta(
            description="How far from the best one counts as equally good.",
            ge=0,
            examples=[0.002],
        ),
    ] = 0.0


class ExplainedEvaluation(Evaluation, frozen=True):
    """How good the model must be, and fair, and of how many rows it is told why."""

    explained_rows: ExplainedRows = 0
    explained_slices: ExplainedSlices = []
    fairness: Fairness = {}


class TunedEvaluation(CandidateEvaluation, frozen=True):
    """How good a model must be, which trial goes on, and of how many rows it is told why."""

    explained_rows: ExplainedRows = 0
    explained_slices: ExplainedSlices = []


class Edge(msgspec.Struct, frozen=True):
    """What the edge model is, and how near it must be to the model that it was made of."""

    representative_rows: Annotated[
        int, Meta(description="Number of rows for calibrating integer models.", ge=1)
    ] = 500
    max_difference: Annotated[
        float, Meta(description="Maximum difference of an output; -1: verify's default.", ge=-1)
    ] = -1.0
    max_changed_decisions: Annotated[
        float,
        Meta(description="Maximum share of changed decisions; -1: verify's default.", ge=-1, le=1),
    ] = -1.0
    max_metric_drop: Annotated[
        float,
        Meta(
            description="How much worse a metric of the edge model may be than the original's.",
            ge=0,
            examples=[0.005],
        ),
    ] = 0.01
    never_missing: Annotated[
        list[str],
        Meta(
            description="Features that always have a value: verify asks no missing one, and the "
            "server refuses a row without.",
            examples=[["hour"]],
        ),
    ] = []
    requirements: Annotated[
        dict[str, Any],
        Meta(
            description="What the model must reach, by device: the object in a requirements.yaml, "
            "or that file.",
            extra={"file": True},
            examples=[{"metrics": [{"metric": "auc", "at_least": 0.9}]}],
        ),
    ] = {}


class ConvertedEdge(Edge, frozen=True):
    """What the edge model is, and how near it must be to the model that it was made of."""

    quantisation: QuantisationName = "float"
    require_raw: RequireRaw = True


class IntegerEdge(Edge, frozen=True):
    """What the integer model is, what it is compiled for, and how near it must be to its model."""

    io: Annotated[
        Literal["float", "int8", "uint8"],
        Meta(description="The type of the integer model's inputs and outputs."),
    ] = "uint8"
    require_mapped: Annotated[
        float,
        Meta(description="The share of operators that must run on the Edge TPU.", ge=0, le=1),
    ] = 0.0
    targets: Annotated[
        list[str],
        Meta(
            description="Targets to compile for; published as <model_name>-<target>.",
            examples=[["ethos-u55", "tvm"]],
        ),
    ] = []


class CompiledEdge(IntegerEdge, frozen=True):
    """What the integer model is, what it is compiled for, and how near it must be to its model."""

    require_raw: RequireRaw = True


class AnyEdge(IntegerEdge, frozen=True):
    """What the edge models are, and how near they must be to the model that came."""

    quantisation: QuantisationName = "float"


class DeliverySettings(msgspec.Struct, frozen=True):
    """Where the published bundle goes, and what it says of its making."""

    signing_keys: Annotated[
        str,
        Meta(
            description="Keys of a signed repository at the destination, each env:NAME or the path "
            "of a mounted secret, comma-separated; empty: the destination is not signed."
        ),
    ] = ""
    git_commit: Annotated[
        str,
        Meta(
            description="The commit of your code, for the bundle's provenance.",
            examples=["4f2c0de"],
        ),
    ] = ""
    card: Annotated[
        dict[CardField, str],
        Meta(
            description="What people declare of the model, for its card and bill of materials: "
            "intended_use, owner, data, limits, ethics and licence; or a YAML file with them.",
            extra={
                "file": True,
                "wanted": f"an object with texts, of {', '.join(CARD_FIELDS)}",
            },
            examples=[{"owner": "mobility@example.com", "licence": "Apache-2.0"}],
        ),
    ] = {}


class DeploymentSettings(DeliverySettings, frozen=True):
    """Where the published bundle goes, and what it says of its making."""

    candidate: Annotated[
        str,
        Meta(
            description="The name under which the model waits in the signed repository until it is "
            "promoted; empty: devices take it.",
        ),
    ] = ""
    sites: Annotated[
        list[dict[str, Any]],
        Meta(
            description="Where to deploy the published bundle: objects with `site` (a cluster, or "
            f"a folder of a Git repository) and perhaps {', '.join(f'`{x}`' for x in SITE)}, as "
            "for the serve component; empty: nowhere. Bundles that are compiled for a "
            "target are deployed by `edgeline site`.",
            examples=[[{"site": "cluster://edge", "form": "kserve", "model_from": "store"}]],
        ),
    ] = []
    models_repository: Annotated[
        str,
        Meta(
            description="The image repository for deployed models; required with sites.",
            examples=["ghcr.io/acme/models"],
        ),
    ] = ""


class ModelSettings(msgspec.Struct, frozen=True):
    """What the imported model is."""

    sha256: Annotated[str, Meta(description="The expected digest of the model.")] = ""
    task: Annotated[Task, Meta(description="What the model does.", examples=["regression"])] = (
        "multiclass_classification"
    )
    labels: Annotated[str, Meta(description="A text file with the class names, one per line.")] = ""
    label: Annotated[
        str, Meta(description="The column with the label; empty: none.", examples=["digit"])
    ] = ""
    label_type: Annotated[
        Literal["", "int64", "string", "float32"],
        Meta(description="The type of that column; empty: float32 for a regression, else int64."),
    ] = ""
    signature: Annotated[
        str, Meta(description="The signature of the model to use; empty: its only one.")
    ] = ""
    input_shape: Annotated[
        list[Annotated[int, Meta(ge=1)]],
        Meta(
            description="The input shape of a row, where a SavedModel or Keras model, or an ONNX "
            "model that becomes a LiteRT one, leaves it open."
        ),
    ] = []
    scaling: Annotated[
        Literal["", "0..1", "-1..1"],
        Meta(description="How to scale pixels for a SavedModel or Keras model; empty: not at all."),
    ] = ""
    logits: Annotated[
        bool, Meta(description="Whether a SavedModel or Keras model predicts logits.")
    ] = False
    rename: Annotated[
        dict[str, str],
        Meta(description="New names for inputs and outputs, to match the columns' names."),
    ] = {}
    to_litert: Annotated[
        bool, Meta(description="Whether an ONNX model is converted to LiteRT (by onnx2tf).")
    ] = False


CACHE = (
    "The cache to take results from: a new name, such as today's date, starts with an empty one, "
    "so that everything is computed again."
)


@dataclass(frozen=True)
class Form:
    """What stands in the form of a pipeline.

    Attributes:
        required: the parameters that stand alone.
        objects: the others, by theme.
        defaults: fields whose default is another in this pipeline, by theme.
        needed: fields that must be given, each as `theme.field`.
    """

    required: type[msgspec.Struct]
    objects: Mapping[str, type[msgspec.Struct]]
    defaults: Mapping[str, Mapping[str, Any]]
    needed: tuple[str, ...] = ()


FORMS = {
    "tabular": Form(
        Trained,
        {
            "splits": SplitSettings,
            "schema": Schema,
            "training": DistributedTraining,
            "evaluation": ExplainedEvaluation,
            "edge": ConvertedEdge,
            "delivery": DeploymentSettings,
        },
        {},
    ),
    "candidates": Form(
        Trained,
        {
            "splits": SplitSettings,
            "schema": Schema,
            "training": CandidateTraining,
            "evaluation": CandidateEvaluation,
            "edge": ConvertedEdge,
            "delivery": DeploymentSettings,
        },
        {},
        needed=("training.candidates",),
    ),
    TUNED: Form(
        Trained,
        {
            "splits": SplitSettings,
            "schema": Schema,
            "training": TunedTraining,
            "evaluation": TunedEvaluation,
            "edge": ConvertedEdge,
            "delivery": DeploymentSettings,
        },
        {},
    ),
    "vision": Form(
        Trained,
        {
            "splits": SplitSettings,
            "schema": Schema,
            "training": DistributedTraining,
            "evaluation": ExplainedEvaluation,
            "edge": CompiledEdge,
            "delivery": DeploymentSettings,
        },
        {
            "training": {"task": "multiclass_classification", "batch_size": 64},
            "edge": {"max_metric_drop": 0.005},
        },
        needed=("schema.images",),
    ),
    "pretrained": Form(
        Imported,
        {
            "model": ModelSettings,
            "splits": SplitSettings,
            "schema": Reading,
            "edge": AnyEdge,
            "delivery": DeliverySettings,
        },
        {
            "splits": {"split_ratios": {"train": 1, "eval": 2}},
            "edge": {"quantisation": "int8", "io": "float"},
        },
    ),
}
