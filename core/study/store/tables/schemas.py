"""The tables of studies, trainings and rankings, declared once: columns, types, ranges, and keys.

`opening` reads tables, `validation` checks them against what is declared here, and `writing` writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

SPLITS = ("train", "test")
POOLINGS = ("flat", "mean")
SAMPLINGS = ("full", "queries", "subsample")
MEANS = ("positions", "tokens", "class token")

_TEXT = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    type
        As it is written. What others wrote is read where it converts without loss, such as int64 for int32.
    required
        Whether each row must have a value; elsewhere null and NaN mean "unknown".
    least, most
        The range of numbers, of lists' elements too; None for no limit.
    infinite
        Whether infinity is a value, too.
    choices
        The texts that are allowed; empty for any.
    refers_to
        "layers" for the name of a layer of the study, "samples" for the number of one of its samples, "labels" for a
        label that samples of the row's split have.
    """

    type: pa.DataType
    required: bool = False
    least: float | None = None
    most: float | None = None
    infinite: bool = False
    choices: tuple[str, ...] = ()
    refers_to: str = ""


@dataclass(frozen=True)
class Table:
    """Columns in their order, and the sets of columns whose values no two rows share."""

    columns: Mapping[str, Column]
    keys: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns' types."""
        return pa.schema([(name, column.type) for name, column in self.columns.items()])


def _count(*, required: bool = False, least: int = 0) -> Column:
    return Column(pa.int32(), required=required, least=least)


def _large_count() -> Column:
    return Column(pa.int64(), least=0)


_share = Column(pa.float64(), least=0, most=1)
_number = Column(pa.float64())
_text = Column(_TEXT)
_name = Column(_TEXT, required=True)
_layer = Column(_TEXT, required=True, refers_to="layers")
_split = Column(_TEXT, required=True, choices=SPLITS)
_pooling = Column(_TEXT, required=True, choices=POOLINGS)
_sample = Column(pa.int32(), required=True, least=0, refers_to="samples")

TABLES: Mapping[str, Table] = {
    "layers": Table(
        {
            "position": _count(required=True),
            "layer": Column(pa.string(), required=True),
            "kind": _text,
            "block": _text,
            "channels": _count(),
            "parameters": _large_count(),
            "cumulative_parameters": _large_count(),
            "cumulative_flop": _large_count(),
            "output_shape": Column(pa.list_(pa.int32()), required=True, least=0),
            "num_features": _large_count(),
            "mean_of": Column(_TEXT, choices=MEANS),  # what pooling mean takes; null without axes
            "note": Column(pa.string()),  # why there are no values; null where there are
        },
        keys=(("layer",), ("position",)),
    ),
    "samples": Table(
        {
            "sample": _count(required=True),
            "split": _split,
            "id": Column(pa.string(), required=True),
            "label": _count(required=True),
            "class_name": _text,
            "source": Column(pa.string()),
        },
        keys=(("sample",), ("id",)),
    ),
    "measurements": Table(
        {
            "split": _split,
            "layer": _layer,
            "pooling": _pooling,
            "metric": _name,
            "measure": _name,
            "order": _count(),
            "ties": _name,
            "sampling": Column(_TEXT, required=True, choices=SAMPLINGS),
            "num_queries": _count(least=1),  # where it is unknown, all samples of the split
            "num_references": _count(),
            "repeat": _count(required=True),
            "value": _share,
            "low": _share,
            "high": _share,
            "target": Column(_TEXT, choices=("population", "data")),
            "chance": _share,
            "excess": _number,
            "z": _number,
            "p_value": _share,
            "q_value": _share,
            "num_undecided": _count(),
            "num_tied": _count(),  # queries with several neighbors at exactly the smallest distance
        },
        keys=(
            ("split", "layer", "pooling", "metric", "measure", "order", "ties", "sampling", "num_queries", "repeat"),
        ),
    ),
    "classes": Table(
        {
            "split": _split,
            "layer": _layer,
            "pooling": _pooling,
            "measure": _name,
            "order": _count(),
            "label": Column(pa.int32(), required=True, least=0, refers_to="labels"),
            "num_queries": _count(required=True),
            "value": Column(pa.float32(), least=0, most=1),
            "chance": Column(pa.float32(), least=0, most=1),
        },
        keys=(("split", "layer", "pooling", "measure", "order", "label"),),
    ),
    "neighbors": Table(
        {
            "split": _split,
            "layer": _layer,
            "pooling": _pooling,
            "sample": _sample,
            "rank": _count(required=True, least=1),
            "nearest": _sample,
            "nearest_split": _split,
            "distance": Column(pa.float32(), required=True, least=0, infinite=True),  # beyond float32's largest
            "same_label": Column(pa.bool_(), required=True),
        },
        keys=(("layer", "pooling", "split", "nearest_split", "sample", "rank"),),
    ),
    "projection": Table(
        {
            "split": _split,
            "layer": _layer,
            "sample": _sample,
            "x": Column(pa.float32(), required=True),
            "y": Column(pa.float32(), required=True),
        },
        keys=(("split", "layer", "sample"),),
    ),
    "curves": Table(
        {
            "split": _split,
            "layer": _layer,
            "pooling": _pooling,
            "metric": _name,
            "measure": _name,
            "size": _count(required=True, least=1),
            "kind": Column(_TEXT, required=True, choices=("observed", "fitted", "extrapolated")),
            "value": _share,
            "low": _share,
            "high": _share,
            "num_samples": _count(),
            "num_sizes": _count(),
            "largest_size": _count(),
            "repeats": _count(),
            "asymptote": _number,
            "gap": _number,
            "rate": _number,
        },
        keys=(("split", "layer", "pooling", "metric", "measure", "size", "kind"),),
    ),
    "related_measures": Table(
        {
            "split": _split,
            "layer": _layer,
            "pooling": _pooling,
            "measure": _name,
            "value": _number,
            "low": _number,
            "high": _number,
            "chance": _number,
            "num_samples": _count(),
        },
        keys=(("split", "layer", "pooling", "measure"),),
    ),
    "alignment": Table(
        {
            "split": _split,
            "layer": _layer,
            "other_layer": _layer,
            "value": _number,
            "chance": _number,
            "debiased": _number,
            "num_samples": _count(),
        },
        keys=(("split", "layer", "other_layer"),),
    ),
}

# Only in the parts of layers, gone when these are merged: what later layers are aligned with (`grams`), what a neighbor
# embedding is made from (`components`), and the embedding, which takes the place of `projection` (`embedding`).
PART_TABLES: Mapping[str, Table] = {
    "grams": Table(
        {
            "split": _split,
            "layer": Column(_TEXT, required=True),
            "gram": Column(pa.list_(pa.float32()), required=True),
        },
        keys=(("split",),),
    ),
    "components": Table(
        {
            "layer": Column(_TEXT, required=True),
            "num_components": _count(required=True),
            "scores": Column(pa.list_(pa.float32()), required=True),
        },
        keys=(("layer",),),
    ),
    "embedding": TABLES["projection"],
}

_SEPARATION_COLUMNS = ("seconds", "separation_s")

HISTORY = Table(
    {
        "phase": Column(pa.string()),
        "epoch": _count(required=True),  # from 1; 0 is the network before the first one, which has no loss
        "loss": _number,
        "accuracy": _number,
        "val_loss": _number,
        "val_accuracy": _number,
        "seconds": _number,  # of the epoch, without what follows
        "separation_s": _number,  # spent on measuring and writing SI after it
    },
    keys=(("epoch",),),
)

_label = Column(pa.string(), required=True)
_difference = dict.fromkeys(("difference", "difference_low", "difference_high"), _number)
RANKING_TABLES: Mapping[str, Table] = {
    "ranking": Table(
        {
            "network": _label,
            "layer": _label,
            "position": _count(required=True),
            "kind": Column(pa.string()),
            "block": Column(pa.string()),
            **dict.fromkeys(("channels", "parameters", "cumulative_parameters", "num_features"), _large_count()),
            **dict.fromkeys(("value", "low", "high", "chance"), _share),
            **dict.fromkeys(("within", "within_low", "within_high", "within_chance", "linear_probe"), _share),
            "seconds": Column(pa.float64(), least=0),
            "chosen": Column(pa.bool_(), required=True),
            **_difference,
        },
        keys=(("network", "layer"),),
    ),
    "networks": Table(
        {
            "rank": Column(pa.int64(), required=True, least=1),
            "network": _label,
            "layer": _label,
            "num_layers": Column(pa.int64(), required=True, least=1),
            **dict.fromkeys(("value", "low", "high", "chance", "within", "linear_probe"), _share),
            "cumulative_parameters": _large_count(),
            "seconds": Column(pa.float64(), least=0),
            **_difference,
            **dict.fromkeys(("p_value", "p_adjusted", "confidence"), _share),
            "verdict": Column(pa.string(), required=True),
        },
        keys=(("network",),),
    ),
}
TRAINING_HISTORY = Table({name: column for name, column in HISTORY.columns.items() if name not in _SEPARATION_COLUMNS})
