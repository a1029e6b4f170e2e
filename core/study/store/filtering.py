"""The rows of a Parquet file that pass filters, read a part at a time, of the row groups that may hold some."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Filter = tuple[str, str, Any]
Filters = Sequence[Filter] | Sequence[Sequence[Filter]]  # all of them, or all of one of several lists

_BATCH_ROWS = 2**17  # that are read at once
_COMPARISONS = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def filtered_columns(filters: Filters) -> list[str]:
    """The columns by which rows are filtered."""
    return [column for one in _alternatives(filters) for column, _, _ in one]


def read_filtered(file: pq.ParquetFile, columns: Sequence[str], filters: Filters) -> pa.Table:
    """Read some columns of the rows that pass the filters.

    PyArrow does not skip row groups by texts, such as those of other layers, which are most of a large table, and
    compares texts row by row, which takes longer than to read them.

    Parameters
    ----------
    file : ParquetFile
        A file that has the columns, and those of the filters.
    columns : sequence of str
        The columns to read.
    filters : sequence
        As in `pyarrow.parquet.read_table`.
    """
    alternatives = _alternatives(filters)
    descriptions = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    groups = [
        group for group, of_group in enumerate(descriptions) if any(_may_pass(of_group, one) for one in alternatives)
    ]
    needed = list(dict.fromkeys([*columns, *filtered_columns(filters)]))
    parts = [file.schema_arrow.empty_table().select(columns)]
    for batch in file.iter_batches(_BATCH_ROWS, groups, needed):  # one at a time: the whole table may be large
        passing = reduce(pc.or_kleene, [_passes_all(batch, one) for one in alternatives])
        if passing.true_count < len(batch):
            batch = batch.filter(passing)
        parts.append(pa.Table.from_batches([batch]).select(columns))
    return pa.concat_tables(parts).unify_dictionaries()


def _alternatives(filters: Filters) -> list[list[Filter]]:
    """The lists of filters, of which a row must pass one."""
    if all(isinstance(one, tuple) for one in filters):
        return [[one for one in filters if isinstance(one, tuple)]]
    return [list(one) for one in filters if not isinstance(one, tuple)]


def _may_pass(group: pq.RowGroupMetaData, filters: Sequence[Filter]) -> bool:
    """Whether rows of a row group may pass all filters, by the smallest and the largest text of its columns."""
    wanted = {column: [value] if test == "==" else value for column, test, value in filters if test in ("==", "in")}
    for index in range(group.num_columns):
        chunk = group.column(index)
        bounds = chunk.statistics if chunk.path_in_schema in wanted else None
        if bounds is None or not bounds.has_min_max or not isinstance(bounds.min, str):
            continue
        if not any(bounds.min <= value <= bounds.max for value in wanted[chunk.path_in_schema]):
            return False
    return True


def _passes_all(batch: pa.RecordBatch, filters: Sequence[Filter]) -> pa.BooleanArray:
    """Whether each row passes all filters; null where a value is."""
    return reduce(pc.and_kleene, [_passes(batch.column(column), test, value) for column, test, value in filters])


def _passes(values: pa.Array, test: str, value: Any) -> pa.BooleanArray:
    """Whether each value passes a filter. Of a column with codes for its texts, each text is compared once."""
    if pa.types.is_dictionary(values.type):
        return _passes(values.dictionary, test, value).take(values.indices)
    if test not in ("in", "not in"):
        return _COMPARISONS[test](values, value)
    is_member = pc.is_in(values, value_set=pa.array(list(value), values.type))
    return is_member if test == "in" else pc.invert(is_member)
