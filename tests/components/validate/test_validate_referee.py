"""Validate beside TFDV's own validator: the same verdict and the same kinds of anomalies.

Where the two differ on purpose, `DIFFERENCES` says why. Nothing else may differ.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from edgeline.components.validate import checks, computing, shifts
from edgeline.components.validate import schema as schemas
from edgeline.components.validate.anomalies import ERROR

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
LOCK = hashlib.sha256((HERE / "tfdv.lock").read_bytes()).hexdigest()[:16]
MODULE = CACHE / f"tfdv-{LOCK}" / "tensorflow_data_validation_extension.so"
PYTHON = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
Kinds = set[tuple[str, str]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (MODULE.is_file() and PYTHON),
        reason="NOT TESTED: validate beside TFDV; tests/components/validate/build_tfdv.sh fetches "
        "TFDV, which needs Python 3.11",
    ),
]


@dataclass(frozen=True)
class Case:
    """A schema and the statistics of a split, perhaps with those of an earlier run."""

    name: str
    schema: schema_pb2.Schema
    now: statistics_pb2.DatasetFeatureStatistics
    before: statistics_pb2.DatasetFeatureStatistics | None = None
    environment: str = ""

    def ours(self) -> Kinds:
        found = checks.check_split(self.now, self.schema, False, self.environment)
        if self.before is not None and self.now.num_examples:
            found += shifts.compare("drift", self.before, self.now, self.schema, 1.0)[0]
        return {(each.feature, each.kind) for each in found if each.severity == ERROR}

    def arguments(self) -> tuple[bytes, ...]:
        before = self.before.SerializeToString() if self.before is not None else b""
        now, schema = self.now.SerializeToString(), self.schema.SerializeToString()
        return now, schema, self.environment.encode(), before, b"", b""


def theirs(cases: list[Case]) -> list[Kinds]:
    """TFDV's answers; of an empty dataset it says that data are missing, which ours calls low."""
    given = pickle.dumps([case.arguments() for case in cases])
    command = [str(PYTHON), str(HERE / "tfdv_referee.py"), str(MODULE)]
    done = subprocess.run(command, input=given, capture_output=True, check=True)
    answers: list[Kinds] = []
    for case, answer in zip(cases, pickle.loads(done.stdout), strict=True):
        assert answer is not None, f"TFDV ended itself over {case.name}"
        found = anomalies_pb2.Anomalies.FromString(answer)
        kinds = {
            (".".join(info.path.step), anomalies_pb2.AnomalyInfo.Type.Name(reason.type))
            for info in (*found.anomaly_info.values(), found.dataset_anomaly_info)
            for reason in info.reason
        }
        answers.append(
            kinds | ({("", "DATASET_LOW_NUM_EXAMPLES")} if found.data_missing else set())
        )
    return answers


@dataclass(frozen=True)
class Difference:
    """Kinds that only one side has, where a text stands in the schema or the name of the case."""

    reason: str
    ours: frozenset[str] = frozenset()
    theirs: frozenset[str] = frozenset()
    where: str = ""


DIFFERENCES = (
    Difference(
        "Whole numbers may stand where the schema says FLOAT, and are held to its range: the model "
        "takes them so.",
        ours=frozenset(
            {
                "FLOAT_TYPE_SMALL_FLOAT",
                "FLOAT_TYPE_BIG_FLOAT",
                "BOOL_TYPE_SMALL_INT",
                "BOOL_TYPE_BIG_INT",
            }
        ),
        theirs=frozenset({"UNEXPECTED_DATA_TYPE"}),
        where="type: FLOAT",
    ),
    Difference(
        "A column without any value, as one whose type nobody could infer, needs no type.",
        ours=frozenset({"FEATURE_TYPE_NOT_PRESENT"}),
        theirs=frozenset({"FEATURE_MISSING_TYPE", "INVALID_DOMAIN_SPECIFICATION"}),
        where="all missing",
    ),
    Difference(
        "Text that is not UTF-8 is not a boolean and no number.",
        ours=frozenset({"BOOL_TYPE_UNEXPECTED_STRING", "INT_TYPE_NOT_INT_STRING"}),
        where="not UTF-8",
    ),
    Difference(
        "A weighted feature that is out of use is not looked at.",
        theirs=frozenset(
            {
                "WEIGHTED_FEATURE_MISSING_VALUE",
                "WEIGHTED_FEATURE_MISSING_WEIGHT",
                "WEIGHTED_FEATURE_LENGTH_MISMATCH",
                "WEIGHTED_FEATURE_NAME_COLLISION",
            }
        ),
        where="lifecycle_stage: DEPRECATED",
    ),
    Difference(
        "TFDV does not look at what a feature is derived from where its type is wrong.",
        ours=frozenset({"DERIVED_FEATURE_BAD_LIFECYCLE"}),
        where="validation_derived_source",
    ),
    Difference(
        "Infinity, which edgeline's statistics keep apart from the range, is found.",
        ours=frozenset({"FLOAT_TYPE_HAS_INF", "FLOAT_TYPE_SMALL_FLOAT", "FLOAT_TYPE_BIG_FLOAT"}),
        where="float_domain",
    ),
    Difference(
        "TFDV takes a max that unique_constraints leaves out for 0.",
        theirs=frozenset({"FEATURE_TYPE_HIGH_UNIQUE"}),
        where="unique_constraints",
    ),
    Difference(
        "The distinct values of whole numbers are counted, too.",
        ours=frozenset({"FEATURE_TYPE_LOW_UNIQUE", "FEATURE_TYPE_HIGH_UNIQUE"}),
        theirs=frozenset({"FEATURE_TYPE_NO_UNIQUE"}),
        where="unique_constraints",
    ),
    Difference(
        "No statistics of tokens are made: natural language is named as not checked.",
        theirs=frozenset({"STATS_NOT_AVAILABLE"}),
        where="natural_language_domain",
    ),
    Difference(
        "TFDV calls domains that it does not know an error: they are named as not checked.",
        ours=frozenset({"DOMAIN_INVALID_FOR_TYPE"}),
        theirs=frozenset({"INVALID_DOMAIN_SPECIFICATION"}),
        where="_domain {",
    ),
    Difference(
        "A domain of numbers that several features share is looked up as one of strings is.",
        ours=frozenset({"INT_TYPE_SMALL_INT", "INT_TYPE_BIG_INT"}),
        theirs=frozenset({"DOMAIN_INVALID_FOR_TYPE", "INVALID_DOMAIN_SPECIFICATION"}),
        where="domain: ",
    ),
    Difference(
        "TFDV looks at max_examples_count only where min_examples_count is given.",
        ours=frozenset({"DATASET_HIGH_NUM_EXAMPLES"}),
        where="max_examples_count",
    ),
    Difference(
        "What is wrong in the schema is told where the data lack the column, too.",
        ours=frozenset({"FEATURE_MISSING_TYPE", "INVALID_SCHEMA_SPECIFICATION"}),
    ),
    Difference(
        "Missing rows are told once, of the presence, where that is 1.",
        theirs=frozenset({"INVALID_FEATURE_SHAPE"}),
        where="min_fraction: 1",
    ),
    Difference(
        "A column of the baseline that is gone, and one that has become text, are told.",
        ours=frozenset({"COMPARATOR_TREATMENT_DATA_MISSING", "UNEXPECTED_DATA_TYPE"}),
    ),
)


def explained(case: Case, ours: Kinds, others: Kinds) -> bool:
    """Whether each kind that one side alone has is a deliberate difference."""
    text = f"{case.name} {schemas.to_text(case.schema)}"
    fitting = [difference for difference in DIFFERENCES if difference.where in text]
    return all(any(kind in d.ours for d in fitting) for _, kind in ours - others) and all(
        any(kind in d.theirs for d in fitting) for _, kind in others - ours
    )


def compared(cases: list[Case]) -> tuple[int, int, list[str]]:
    """How many verdicts and sets of kinds are the same, and what no difference explains."""
    verdicts = kinds = 0
    unexplained = []
    for case, others in zip(cases, theirs(cases), strict=True):
        ours = case.ours()
        verdicts += bool(ours) == bool(others)
        kinds += ours == others
        if not explained(case, ours, others):
            only = f"ours only {sorted(ours - others)}, TFDV only {sorted(others - ours)}"
            unexplained.append(f"{case.name}: {only}")
    return verdicts, kinds, unexplained


# Statistics as TFDV writes them, and what a schema may say of such a column


def texts(*values: str, rows: int = 100, missing: int = 0, bad: int = 0) -> str:
    each = (rows - missing) // max(len(values), 1)
    buckets = " ".join(f'buckets {{label: "{value}" sample_count: {each}}}' for value in values)
    return (
        f"type: STRING string_stats {{{common(rows, missing)} unique: {len(values)} "
        f"invalid_utf8_count: {bad} rank_histogram {{{buckets}}}}}"
    )


def numbers(kind: str, low: float, high: float, rows: int = 100, **more: int) -> str:
    missing, nan = more.get("missing", 0), more.get("nan", 0)
    middle = (low + high) / 2
    buckets = " ".join(
        f"buckets {{low_value: {a} high_value: {b} sample_count: {(rows - missing) / 2}}}"
        for a, b in ((low, middle), (middle, high))
    )
    histograms = " ".join(
        f"histograms {{type: {which} num_nan: {nan} {buckets}}}"
        for which in ("STANDARD", "QUANTILES")
    )
    lengths = common(rows, missing, *more.get("lengths", (1, 1)))
    return f"type: {kind} num_stats {{{lengths} min: {low} max: {high} {histograms}}}"


def common(rows: int, missing: int, least: int = 1, most: int = 1) -> str:
    present = rows - missing
    return (
        f"common_stats {{num_non_missing: {present} num_missing: {missing} min_num_values: {least} "
        f"max_num_values: {most} tot_num_values: {present * most} avg_num_values: {most}}}"
    )


COLUMNS = {
    "words": texts("a", "b", "c"),
    "digits": texts("1", "2", "30"),
    "decimals": texts("0.5", "1e3", "-2"),
    "odd numbers": texts("nan", "1"),
    "yes and no": texts("yes", "no"),
    "some missing": texts("a", "b", missing=20),
    "all missing": texts(missing=100),
    "not UTF-8": texts("a", bad=3),
    "ints": numbers("INT", 0, 5),
    "bits": numbers("INT", 0, 1),
    "negative": numbers("INT", -3, 5, missing=1),
    "floats": numbers("FLOAT", 0.25, 7.5),
    "zeros and ones": numbers("FLOAT", 0, 1),
    "with NaN": numbers("FLOAT", 0, 9, nan=4),
    "pairs": numbers("INT", 0, 5, lengths=(2, 2)),
    "lists": numbers("FLOAT", 0, 5, lengths=(0, 4)),
    "bytes": f"type: BYTES bytes_stats {{{common(100, 0)} unique: 9 max_num_bytes_int: 5000}}",
}
SAYINGS = (
    "",
    "presence {min_fraction: 1}",
    "presence {min_count: 90}",
    "presence {min_fraction: 0.9 min_count: 95}",
    "presence {min_fraction: 1.5}",
    "presence {min_count: 1} lifecycle_stage: PRODUCTION",
    "presence {min_count: 101} lifecycle_stage: ALPHA",
    "presence {min_count: 101} deprecated: true",
    "shape {dim {size: 1}}",
    "shape {dim {size: 2}} presence {min_count: 1}",
    "shape {dim {size: 0}}",
    "value_count {min: 1 max: 1}",
    "value_count {min: 2 max: 3}",
    "value_count {min: 4 max: 3}",
    "value_count {min: -1}",
    "value_counts {value_count {min: 1 max: 1}}",
    "value_counts {value_count {min: 1} value_count {min: 1}}",
    'string_domain {value: "a" value: "b"}',
    'string_domain {value: "a"} distribution_constraints {min_domain_mass: 0.4}',
    'domain: "shared"',
    'domain: "nowhere"',
    "bool_domain {}",
    'bool_domain {true_value: "yes" false_value: "no"}',
    'bool_domain {true_value: "a"} distribution_constraints {min_domain_mass: 0.5}',
    "int_domain {min: 0}",
    "int_domain {min: 1 max: 4}",
    "int_domain {} distribution_constraints {min_domain_mass: 0.9}",
    "float_domain {min: 0 max: 7.5}",
    "float_domain {min: 1}",
    "float_domain {disallow_nan: true disallow_inf: true}",
    "unique_constraints {min: 1 max: 3}",
    "unique_constraints {min: 4 max: 9}",
    "unique_constraints {min: 1 max: 2}",
    "unique_constraints {min: 2}",
    "struct_domain {}",
    "image_domain {max_image_byte_size: 4000}",
    "natural_language_domain {}",
    "natural_language_domain {coverage {min_coverage: 0.5}}",
    "url_domain {}",
    "time_of_day_domain {}",
    "validation_derived_source {deriver_name: 'd'}",
)
TYPES = ("", "type: BYTES", "type: INT", "type: FLOAT")
SHARED = 'string_domain {name: "shared" value: "a" value: "b" value: "c"} '


def dataset(columns: dict[str, str], rows: int = 100) -> statistics_pb2.DatasetFeatureStatistics:
    features = " ".join(f'features {{name: "{name}" {text}}}' for name, text in columns.items())
    text = f"num_examples: {rows} {features}"
    return text_format.Parse(text, statistics_pb2.DatasetFeatureStatistics(name="now"))


def schema(text: str) -> schema_pb2.Schema:
    return text_format.Parse(text, schema_pb2.Schema())


def single() -> Iterator[Case]:
    """Each kind of column with each thing that a schema may say, under each type."""
    for name, says, kind in itertools.product(COLUMNS, SAYINGS, TYPES):
        text = f'{SHARED} feature {{name: "x" {kind} {says}}}'
        yield Case(f"{name}: {kind} {says}", schema(text), dataset({"x": COLUMNS[name]}))


def whole() -> Iterator[Case]:
    """What a schema says of more than one column, of rows and of environments."""
    two = {"x": COLUMNS["words"], "y": COLUMNS["floats"]}
    x = 'feature {name: "x" type: BYTES presence {min_count: 1}}'
    y = 'feature {name: "y" type: FLOAT presence {min_count: 1}'
    both = f"{x} {y}}}"
    for rows, limits in itertools.product(
        (0, 1, 100), ("min_examples_count: 50", "max_examples_count: 50", "min_examples_count: 1")
    ):
        text = f"{both} dataset_constraints {{{limits}}}"
        yield Case(f"{rows} rows, {limits}", schema(text), dataset(two, rows))
    for fractions, earlier in itertools.product(
        ("min_fraction_threshold: 0.5", "max_fraction_threshold: 1", "max_fraction_threshold: 0.1"),
        (0, 50, 100, 1000),
    ):
        text = f"{both} dataset_constraints {{num_examples_drift_comparator {{{fractions}}}}}"
        name = f"{earlier} rows before, {fractions}"
        yield Case(name, schema(text), dataset(two), dataset(two, earlier))
    yield Case("a new column", schema(x), dataset(two))
    yield Case("a missing column", schema(both), dataset({"x": two["x"]}))
    optional = 'feature {name: "y" type: FLOAT}'
    yield Case("an optional column", schema(f"{x} {optional}"), dataset({"x": two["x"]}))
    places = 'default_environment: "TRAINING" default_environment: "SERVING"'
    for where, given in itertools.product(
        ('in_environment: "OTHER"', 'not_in_environment: "SERVING"', ""),
        ("", "TRAINING", "SERVING", "OTHER"),
    ):
        text = f"{places} {x} {y} {where}}}"
        for columns in (two, {"x": two["x"]}, {"y": two["y"]}):
            name = f"{list(columns)} in {given!r}, {where}"
            yield Case(name, schema(text), dataset(columns), environment=given)
    struct = (
        'feature {name: "s" type: STRUCT presence {min_count: 1} STAGE struct_domain {'
        'feature {name: "a" type: INT int_domain {max: 4}}}}'
    )
    body = f"type: STRUCT struct_stats {{{common(100, 0)}}}"
    for stage, inner in itertools.product(("", "lifecycle_stage: PLANNED"), ("a", "b")):
        held = dataset({"s": body, f"s.{inner}": COLUMNS["ints"]})
        yield Case(f"s.{inner} {stage}", schema(struct.replace("STAGE", stage)), held)
    empty = f"type: STRUCT struct_stats {{{common(100, 100)}}}"
    held = dataset({"s": empty, "s.a": numbers("INT", 0, 9, missing=100)})
    yield Case("an empty struct", schema(struct.replace("STAGE", "")), held)


def combined() -> Iterator[Case]:
    """Sparse and weighted features, with what TFDV counts of them."""
    plain = "".join(f'feature {{name: "{name}" type: INT}} ' for name in ("v", "i", "w"))
    sparse = 'sparse_feature {name: "x" value_feature {name: "v"} index_feature {name: "i"} STAGE}'
    weighted = 'weighted_feature {name: "x" feature {step: "v"} weight_feature {step: "w"} STAGE}'
    columns = dict.fromkeys(("v", "i", "w"), COLUMNS["ints"])
    counts = {
        name: [
            f'custom_stats {{name: "{name}" num: {n}}}'
            if name in ("missing_value", "missing_weight", "max_weight_length_diff")
            else f'custom_stats {{name: "{name}" rank_histogram {{buckets {{label: "i" '
            f"sample_count: {n}}}}}}}"
            for n in (0, 3)
        ]
        for name in (
            *("missing_value", "missing_index", "max_length_diff", "min_length_diff"),
            *("missing_weight", "max_weight_length_diff"),
        )
    }
    for what, stage in itertools.product((sparse, weighted), ("", "lifecycle_stage: DEPRECATED")):
        text = plain + what.replace("STAGE", stage)
        for name, (good, bad) in counts.items():
            for entry in (good, bad):
                held = dataset({**columns, "x": entry})
                yield Case(f"{what[:6]} {stage} {name} {entry is bad}", schema(text), held)
        taken = f'{text} feature {{name: "x" type: INT}}'
        held = dataset({**columns, "x": COLUMNS["ints"]})
        yield Case(f"{what[:6]} {stage} of a taken name", schema(taken), held)


def drifts() -> Iterator[Case]:
    """Comparators, beside an earlier run."""
    kinds = ("infinity_norm", "jensen_shannon_divergence", "normalized_abs_difference")
    sides = {
        "words": (texts("a", "b"), texts("a", "b", "c", "d")),
        "the same": (texts("a", "b"), texts("a", "b")),
        "floats": (numbers("FLOAT", 0, 4), numbers("FLOAT", 2, 6)),
        "far floats": (numbers("FLOAT", 0, 4), numbers("FLOAT", 20, 60)),
        "ints": (numbers("INT", 0, 10), numbers("INT", 0, 11)),
    }
    for (name, (then, now)), kind, limit in itertools.product(sides.items(), kinds, (0, 0.2, 0.6)):
        type_ = {"w": "BYTES", "t": "BYTES", "f": "FLOAT", "i": "INT"}[name[0]]
        more = "source {type: QUANTILES}" if kind[0] == "j" and limit == 0.2 else ""
        text = (
            f'feature {{name: "x" type: {type_} drift_comparator {{{kind} {{threshold: {limit} '
            f"{more}}}}}}}"
        )
        case = f"{name}, {kind} above {limit}"
        yield Case(case, schema(text), dataset({"x": now}), dataset({"x": then}))
        other = dataset({"y": COLUMNS["ints"]})
        both = f'{text} feature {{name: "y" type: INT}}'
        yield Case(f"{case}, no such column", schema(both), dataset({"x": now}), other)


def test_made_cases():
    cases = [*single(), *whole(), *combined(), *drifts()]
    verdicts, kinds, unexplained = compared(cases)
    assert unexplained == []
    assert len(cases) > 2500
    assert verdicts > 0.9 * len(cases)
    assert kinds > 0.85 * len(cases)


def _changed(table: pa.Table, name: str) -> Iterator[tuple[str, pa.Table]]:
    """What may happen to a column of a table."""
    place, column = table.schema.get_field_index(name), table[name]
    half = pa.array([row % 2 == 0 for row in range(len(table))])
    yield "as it was", table
    yield "dropped", table.drop_columns([name])
    yield (
        "renamed",
        table.rename_columns([each.replace(name, "other") for each in table.column_names]),
    )
    yield "partly missing", table.set_column(place, name, pc.if_else(half, column, None))
    yield "all missing", table.set_column(place, name, pa.nulls(len(table), column.type))
    yield "text", table.set_column(place, name, pc.cast(column, pa.string()))
    yield "lists", table.set_column(place, name, pa.array([[x, x] for x in column.to_pylist()]))
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        yield "negated", table.set_column(place, name, pc.negate(column))
        yield "hundredfold", table.set_column(place, name, pc.multiply(column, 100))
        whole = pc.cast(pc.round(pc.cast(column, pa.float64())), pa.int64())
        yield "whole", table.set_column(place, name, whole)
        halves = pc.divide(pc.cast(column, pa.float64()), 2)
        yield "halved", table.set_column(place, name, halves)
    else:
        yield "upper case", table.set_column(place, name, pc.utf8_upper(column))
    yield "no row", table.slice(0, 0)


def _real_tables() -> Iterator[tuple[str, pa.Table]]:
    files = [ROOT / "pipelines/taxi/taxi.csv", ROOT / "edgeline/starter/wine/wine.csv"]
    for file in (*files, *sorted((ROOT / "tests/data/columns").glob("*.csv"))):
        options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
        yield file.name, pyarrow.csv.read_csv(file, convert_options=options)


def _halves(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    return table.slice(0, len(table) // 2), table.slice(len(table) // 2)


def test_real_tables(write_examples):
    cases = []
    for file, table in _real_tables():
        train, rest = _halves(table)
        earlier = computing.compute_split(write_examples(train=train), "train")
        frozen = schemas.infer(earlier, ranges=True)
        for name in (table.column_names[0], table.column_names[-1]):
            for what, changed in _changed(rest, name):
                now = computing.compute_split(write_examples(now=changed), "now")
                cases.append(Case(f"{file}: {name} {what}", frozen, now, earlier))
    verdicts, kinds, unexplained = compared(cases)
    assert unexplained == []
    assert len(cases) > 97
    assert verdicts > 0.96 * len(cases)
    assert kinds > 0.85 * len(cases)


def test_drift_of_real_columns(write_examples):
    """Each column of each table from the rows' first half to the second, and within a split."""
    cases = []
    for file, table in _real_tables():
        first, second = _halves(table)
        even = table.filter(pa.array([row % 2 == 0 for row in range(len(table))]))
        then = computing.compute_split(write_examples(now=first), "now")
        for what, rows in (("the second half", second), ("every other row", even)):
            now = computing.compute_split(write_examples(now=rows), "now")
            for column in table.column_names:
                frozen = schemas.infer(then)
                (asked,) = (each for each in frozen.feature if each.name == column)
                comparator = asked.drift_comparator
                if asked.type != schema_pb2.BYTES:
                    comparator.jensen_shannon_divergence.threshold = 0.03
                    if len(column) % 2:
                        quantiles = schema_pb2.HistogramSelection.QUANTILES
                        comparator.jensen_shannon_divergence.source.type = quantiles
                else:
                    comparator.infinity_norm.threshold = 0.03
                    comparator.normalized_abs_difference.threshold = 0.03
                del frozen.feature[:]
                frozen.feature.append(asked)
                alone = [_only(side, column) for side in (now, then)]
                cases.append(Case(f"{file}: {column} to {what}", frozen, *alone))
    verdicts, kinds, unexplained = compared(cases)
    assert unexplained == []
    assert len(cases) > 100
    assert verdicts == kinds == len(cases)


def _only(
    dataset: statistics_pb2.DatasetFeatureStatistics, name: str
) -> statistics_pb2.DatasetFeatureStatistics:
    made = statistics_pb2.DatasetFeatureStatistics(
        name=dataset.name, num_examples=dataset.num_examples
    )
    made.features.extend(each for each in dataset.features if each.path.step[0] == name)
    return made
