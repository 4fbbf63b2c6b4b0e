"""The face of settings."""

from typing import NamedTuple

from kfp import dsl

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def settings(
    kind: str,
    model_name: str = "",
    destination: str = "",
    cache_name: str = "",  # noqa: ARG001
    defaults: dict = {},  # noqa: B006
    delivery: dict = {},  # noqa: B006
    edge: dict = {},  # noqa: B006
    evaluation: dict = {},  # noqa: B006
    model: dict = {},  # noqa: B006
    schema: dict = {},  # noqa: B006
    splits: dict = {},  # noqa: B006
    training: dict = {},  # noqa: B006
) -> NamedTuple(
    "Settings",
    [
        ("analyzer_cache", str),
        ("baseline_model_uri", str),
        ("baseline_uri", str),
        ("batch_size", int),
        ("beam_options", list),
        ("candidate", str),
        ("card", dict),
        ("checkpoint_dir", str),
        ("choose_by", str),
        ("class_weights", str),
        ("column_types", dict),
        ("columns", dict),
        ("comparison_rows", int),
        ("decimal", str),
        ("decision_goal", str),
        ("delimiter", str),
        ("direction", str),
        ("drift_threshold", float),
        ("each_candidate", list),
        ("each_site", list),
        ("each_target", list),
        ("encoding", str),
        ("environment", str),
        ("eval_config", dict),
        ("explained_rows", int),
        ("explained_slices", list),
        ("explains", bool),
        ("fairness", dict),
        ("for_analyze", dict),
        ("for_choose", dict),
        ("for_convert", dict),
        ("for_explain", dict),
        ("for_import_model", dict),
        ("for_ingest", dict),
        ("for_publish", dict),
        ("for_publish_candidates", dict),
        ("for_train", dict),
        ("for_train_candidate", dict),
        ("for_transform", dict),
        ("for_tune", dict),
        ("for_validate", dict),
        ("for_verify", dict),
        ("git_commit", str),
        ("gradient_norms", bool),
        ("has_candidates", bool),
        ("has_sites", bool),
        ("has_targets", bool),
        ("hyperparameters", dict),
        ("images", dict),
        ("infer_ranges", bool),
        ("input_shape", list),
        ("io", str),
        ("jit_compile", bool),
        ("jobs", int),
        ("label", str),
        ("label_type", str),
        ("label_vocabulary", str),
        ("labels", str),
        ("lengths", dict),
        ("logits", bool),
        ("max_changed_decisions", float),
        ("max_difference", float),
        ("max_metric_drop", float),
        ("memory_mb", int),
        ("mixed_precision", str),
        ("models_repository", str),
        ("never_missing", list),
        ("null_values", list),
        ("objectives", list),
        ("on_anomalies", str),
        ("patience", int),
        ("pruning", str),
        ("quantisation", str),
        ("query", str),
        ("rename", dict),
        ("representative_rows", int),
        ("require_mapped", float),
        ("require_raw", bool),
        ("requirements", dict),
        ("sample", float),
        ("sampler", str),
        ("sampler_seed", int),
        ("scaling", str),
        ("schema_uri", str),
        ("search_seconds", int),
        ("search_space", dict),
        ("seed", int),
        ("sha256", str),
        ("signature", str),
        ("signing_keys", str),
        ("skew_threshold", float),
        ("split_by", dict),
        ("split_key", str),
        ("split_ratios", dict),
        ("steps", int),
        ("steps_per_epoch", int),
        ("study_folder", str),
        ("task", str),
        ("thousands", str),
        ("tie", str),
        ("tie_within", float),
        ("to_litert", bool),
        ("trials", int),
        ("weight_column", str),
        ("windows", dict),
        ("workers", int),
    ],
):
    """Work out every parameter of a run, and check it, before anything else begins.

    The form of edgeline's pipelines has objects, and a dict that is given there takes the place of
    the whole default: what it leaves out comes from the pipeline's defaults.

    A loop over nothing never ends on a cluster, and what collects its outputs fails: put the loop,
    and what collects it, into a dsl.If on has_targets or has_sites.

    Args:
        kind: Which form it is: tabular, candidates, tuned, vision or pretrained.
        model_name: Where there is one: the name to publish under.
        destination: Where publish will publish. In a cluster a relative path is refused: it would
            be on a pod's own disk, and gone with the pod.
        cache_name: The cache to take the result from; see ingest.
        defaults: Of the pipeline, by object and field, where they are not those of its kind.
        delivery: Fields as the pipelines have them, and so the following ones.
        edge: See delivery.
        evaluation: See delivery.
        model: See delivery; only for the kind pretrained.
        schema: See delivery.
        splits: See delivery.
        training: See delivery.
    """
    from edgeline.components.settings.settings import settings as work

    return work(
        kind=kind,
        model_name=model_name,
        destination=destination,
        defaults=defaults,
        delivery=delivery,
        edge=edge,
        evaluation=evaluation,
        model=model,
        schema=schema,
        splits=splits,
        training=training,
    )
