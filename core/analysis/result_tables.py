"""The tables that analyses hand to reports and pages: columns, types and ranges, declared once as those of a study are.

An analysis returns a table through `checked`, so that a column that is missing, of another type or out of range is an
error where the table is made, and not in the chart that draws it. Rankings are declared in
`core.study.store.tables.schemas`, since they are files, too.
"""

import pandas as pd
import pyarrow as pa

from core.measures.noninferiority import VERDICTS
from core.study.store.tables.schemas import POOLINGS, SPLITS, Column, Table
from core.study.store.tables.ties import MANY_TIES
from core.study.store.tables.validation import converted, key_faults, value_faults

MATCHES = ("name", "position")  # how layers of two studies are matched
CERTAIN_CHANGES = ROSE, FELL = ("rose", "fell")
CHANGES = (*CERTAIN_CHANGES, "no certain change", "no interval", MANY_TIES)

_text = Column(pa.string())
_name = Column(pa.string(), required=True)
_pooling = Column(pa.string(), required=True, choices=POOLINGS)
_yes_no = Column(pa.bool_(), required=True)
_count = Column(pa.int64(), least=0)
_position = Column(pa.int64(), required=True, least=0)
_share = Column(pa.float64(), least=0, most=1)
_difference = Column(pa.float64(), least=-1, most=1)
_number = Column(pa.float64())
_amount = Column(pa.float64(), least=0)

# SI and kNN through the network: one row a layer, measure, samples and pooling, in network order.
CURVES = Table(
    {
        "layer": _name,
        "position": _position,
        "measure": Column(pa.string(), required=True, choices=("SI", "kNN")),
        "order": _count,
        "samples": Column(pa.string(), required=True, choices=(*SPLITS, "cross")),  # cross: test among training samples
        "pooling": _pooling,
        "value": _share,
        "low": _share,
        "high": _share,
        "chance": _share,
        "excess": _number,
        "num_queries": _count,
        "num_references": _count,
        "metric": _name,
        "sampling": _name,
        "target": _text,
        "z": _number,
        "p_value": _share,
        "q_value": _share,
        "num_tied": _count,
    },
    keys=(("layer", "measure", "samples", "pooling"),),
)

# The change of SI from one study to another: one row a pair of layers.
LAYER_CHANGES = Table(
    {
        "layer": _name,
        "layer_before": _name,
        "position": _position,
        "position_before": _position,
        "relative_position": _share,  # of `layer` in its network
        "before": _share,
        "after": _share,
        "difference": _difference,  # after − before
        "low": _difference,
        "high": _difference,
        "z": Column(pa.float64(), infinite=True),
        "p_value": _share,
        "q_value": _share,
        "paired": _yes_no,
        "num_samples": _amount,  # of the value with fewer samples
        "matched_by": Column(pa.string(), required=True, choices=MATCHES),
        "verdict": Column(pa.string(), required=True, choices=CHANGES),
    },
    keys=(("layer",),),
)

# What cutting at each candidate saves and costs: one row a candidate, in network order.
CUT_CANDIDATES = Table(
    {
        "layer": _name,
        "position": _position,
        "value": _share,
        "low": _share,
        "high": _share,
        "chance": _share,
        "difference": _difference,  # to the highest SI
        "difference_low": _difference,
        "difference_high": _difference,
        "verdict": Column(pa.string(), required=True, choices=VERDICTS),
        "samples_needed": Column(pa.float64(), least=0, infinite=True),
        "paired": _yes_no,
        "parameters": _amount,
        "parameters_saved": _share,
        "flop": _amount,
        "flop_saved": _share,
        "seconds": _amount,
        "seconds_saved": _number,
        "seconds_saved_low": _number,
        "seconds_saved_high": _number,
        "timing_rounds": _amount,
        "linear_probe": _share,
        "linear_probe_difference": _difference,
    },
    keys=(("layer",),),
)

# The change of SI across each block of a network: one row a block, in network order.
BLOCKS = Table(
    {
        "block": _name,
        "input": _name,
        "output": _name,
        "before": _share,
        "after": _share,
        "difference": _difference,
        "low": _difference,
        "high": _difference,
        "paired": _yes_no,
        "parameters": _amount,
        "parameters_share": _share,
    },
    keys=(("output",),),
)

# Stored neighbors that layers have in common: one row a pair of layers.
OVERLAPS = Table(
    {
        "layer": _name,
        "other_layer": _name,
        "position": _position,
        "other_position": _position,
        "value": _share,
        "chance": _share,
        "z": Column(pa.float64(), infinite=True),
        "k": Column(pa.int64(), required=True, least=1),
        "num_samples": Column(pa.int64(), required=True, least=1),
    },
    keys=(("layer", "other_layer"),),
)

# Samples whose label their neighbors contradict: one row a sample, the highest score first.
SAMPLES_TO_CHECK = Table(
    {
        "sample": Column(pa.int64(), required=True, least=0),
        "id": _text,
        "split": Column(pa.string(), required=True, choices=SPLITS),
        "class_name": _text,
        "suggested": _text,
        "score": _share,
        "votes": _amount,
        "own_votes": _amount,
        "layers": Column(pa.int64(), required=True, least=1),
    },
    keys=(("sample",),),
)


def checked(table: pd.DataFrame, declared: Table, name: str) -> pd.DataFrame:
    """Return the declared columns of a table, in their order.

    Parameters
    ----------
    table : DataFrame
        The table, which may have more columns.
    declared : Table
        One of this module's declarations.
    name : str
        What the table is called in the message of an error.

    Raises
    ------
    ValueError
        With all faults: columns that are missing or of another type, gaps, values out of range, repeated rows.

    Examples
    --------
    >>> checked(pd.DataFrame({"layer": ["a"]}), Table({"layer": _name, "value": _share}), "curves")
    Traceback (most recent call last):
    ...
    ValueError: the table curves must have the columns value; it has not.
    """
    missing = [column for column in declared.columns if column not in table.columns]
    if missing:
        raise ValueError(f"the table {name} must have the columns {', '.join(missing)}; it has not.")
    chosen = table[list(declared.columns)]
    data, faults = converted(pa.Table.from_pandas(chosen, preserve_index=False), declared, list(declared.columns))
    faults = faults or [*value_faults(data, declared), *key_faults(data, declared)]
    if faults:
        raise ValueError(f"the table {name} must be as it is declared: {'; '.join(faults)}.")
    return chosen
