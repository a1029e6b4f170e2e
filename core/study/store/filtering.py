"""Parts of a Parquet file: the rows that pass filters, and a column's texts, read from few of its row groups."""

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


def distinct_texts(file: pq.ParquetFile, column: str) -> list[str]:
    """Return the distinct texts of a column in order of appearance; row groups that hold a single one are not read."""
    texts: list[str] = []
    for group in range(file.num_row_groups):
        bounds = _bounds(file.metadata.row_group(group), column)
        if bounds is not None and bounds.min == bounds.max and bounds.null_count == 0:
            texts.append(bounds.min)
        else:
            texts += map(str, file.read_row_group(group, [column])[column].unique().to_pylist())
    return list(dict.fromkeys(texts))


def _alternatives(filters: Filters) -> list[list[Filter]]:
    """The lists of filters, of which a row must pass one."""
    if all(isinstance(one, tuple) for one in filters):
        return [[one for one in filters if isinstance(one, tuple)]]
    return [list(one) for one in filters if not isinstance(one, tuple)]


def _may_pass(group: pq.RowGroupMetaData, filters: Sequence[Filter]) -> bool:
    """Whether rows of a row group may pass all filters, by the smallest and the largest text of its columns."""
    wanted = {column: [value] if test == "==" else value for column, test, value in filters if test in ("==", "in")}
    for column, values in wanted.items():
        bounds = _bounds(group, column)
        if bounds is not None and not any(bounds.min <= value <= bounds.max for value in values):
            return False
    return True


def _bounds(group: pq.RowGroupMetaData, column: str) -> pq.Statistics | None:
    """What is known of the texts of a column of a row group: the smallest and the largest; None where it is not."""
    chunks = map(group.column, range(group.num_columns))
    bounds = next((chunk.statistics for chunk in chunks if chunk.path_in_schema == column), None)
    return bounds if bounds is not None and bounds.has_min_max and isinstance(bounds.min, str) else None


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
