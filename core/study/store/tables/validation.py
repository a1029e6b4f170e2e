"""Checks a study's tables where they come in, so that nothing behind needs to.

A study folder may have been written by anyone, or damaged. Each function returns what is wrong as sentences' ends, such
as "column 'value' must lie in 0 to 1; got 1.7 in row 12"; none where all is well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.data.parquet import column_chunks
from core.study.store.tables.schemas import SPLITS, Column, Table

_SLACK = 1e-6  # an interval's end may leave its range by a rounding error
_MOST_PER_BYTE = 1_000  # values in a byte of a file, beyond a first million; the tables that core writes have ten
_FREE = 1_000_000
_MOST_SHOWN = 200  # characters of a value in a message
_KINDS = {"text": "text", "integer": "whole numbers", "number": "numbers", "truth": "true or false"}


def file_faults(file: pq.ParquetFile, file_bytes: int, table: Table, columns: Sequence[str]) -> list[str]:
    """Return the faults in a file's own description: missing columns, wrong types, absurd sizes, ranges.

    Reads one row of each row group, so that it is fast for a table of any size.

    Raises
    ------
    OSError, ValueError, pyarrow.ArrowException
        The file is damaged.
    """
    schema = file.schema_arrow
    faults = []
    missing = [name for name in columns if name not in schema.names]
    if missing:
        faults.append(f"it lacks the columns {', '.join(sorted(missing))}")
    for name in columns:
        if schema.names.count(name) > 1:
            faults.append(f"column {name!r} must be there once; got it {schema.names.count(name)} times")
        elif name in schema.names and not _is_convertible(schema.field(name).type, table.columns[name].type):
            wanted = _words(table.columns[name].type)
            faults.append(f"column {name!r} must hold {wanted}; got {schema.field(name).type}")
    if faults:
        return faults
    chunks = column_chunks(file)  # not before the columns are known to be there once, and of the right types
    num_values = max([file.metadata.num_rows, *(chunk.num_values for chunk in chunks)])
    if num_values > _FREE + _MOST_PER_BYTE * file_bytes:
        return [f"it must hold what it claims; got {num_values:,} values in {file_bytes:,} bytes"]
    return _statistics_faults(chunks, table, columns)


def _statistics_faults(chunks: Sequence[Any], table: Table, columns: Sequence[str]) -> list[str]:
    """Ranges of whole numbers as each row group states them, so that a large table need not be read to be refused."""
    faults = {}
    for chunk in chunks:
        name, statistics = chunk.path_in_schema, chunk.statistics
        if name not in columns or statistics is None or not statistics.has_min_max:
            continue
        low, high = statistics.min, statistics.max
        if isinstance(low, int) and isinstance(high, int):
            faults[name] = _range_fault(name, table.columns[name], np.array([low, high]), rows=False)
    return [fault for fault in faults.values() if fault]


def converted(data: pa.Table, table: Table, columns: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """The columns in their declared types, without any others."""
    faults: list[str] = []
    try:
        data.validate(full=True)  # offsets, dictionary codes and UTF-8: whatever else reads them would stumble
    except (pa.ArrowException, UnicodeDecodeError) as error:
        return data, [f"it must be readable; got: {_first_line(error)}"]
    arrays = []
    for name in columns:
        kind = table.columns[name].type
        try:
            arrays.append(_as_type(data[name], kind))
        except (pa.ArrowException, UnicodeDecodeError) as error:
            faults.append(f"column {name!r} must hold {_words(kind)}; got: {_first_line(error)}")
    if faults:
        return data, faults
    schema = pa.schema([(name, table.columns[name].type) for name in columns])
    return pa.Table.from_arrays(arrays, schema=schema), []


def value_faults(data: pa.Table, table: Table) -> list[str]:
    """Missing values, numbers out of range and unknown texts, by column."""
    column_faults = [_column_fault(name, data[name], table.columns[name]) for name in data.column_names]
    return [fault for fault in column_faults if fault]


def key_faults(data: pa.Table, table: Table) -> list[str]:
    """Return the faults of repeated rows; keys whose columns were not read are left out."""
    faults = []
    for key in table.keys:
        if not len(data) or not set(key) <= set(data.column_names):
            continue
        row = _first_repeated([_codes(data[name]) for name in key])
        if row is not None:
            key_text = ", ".join(f"{name} {_short(data[name][row].as_py())}" for name in key)
            faults.append(f"each row must be there once; got {key_text} again in row {row:,}")
    return faults


def layer_faults(data: pa.Table, table: Table, layers: Sequence[str]) -> list[str]:
    """Names of layers that the study does not have."""
    faults = []
    for name in data.column_names:
        if table.columns[name].refers_to == "layers":
            unknown = sorted(set(pc.unique(data[name].combine_chunks()).to_pylist()) - set(layers))
            if unknown and not len(layers):
                faults.append(f"column {name!r} names layers, of which the folder holds no table, layers.parquet")
            elif unknown:
                faults.append(f"column {name!r} must name layers of the table layers; got {_short(unknown[0])}")
    return faults


def of_layers(data: pa.Table, table: Table, layers: Sequence[str]) -> pa.Table:
    """The rows whose layers are all among these."""
    for name in data.column_names:
        if table.columns[name].refers_to == "layers":
            data = data.filter(pc.is_in(data[name].cast(pa.string()), pa.array(layers, pa.string())))
    return data


@dataclass(frozen=True)
class Samples:
    """A study's samples by their number.

    splits : the place in `SPLITS` of each. labels : the label of each.
    """

    splits: NDArray[np.int8]
    labels: NDArray[np.int64]


def sample_faults(data: pa.Table, table: Table, samples: Samples) -> list[str]:
    """Return samples and labels that the study does not have, and what rows say of samples that is not so."""
    faults = []
    for name in data.column_names:
        refers_to = table.columns[name].refers_to
        if refers_to == "samples" and len(data):
            faults += _number_faults(data, name, samples.splits)
        elif refers_to == "labels" and "split" in data.column_names:
            faults += _label_faults(data, name, samples)
    return faults


def _number_faults(data: pa.Table, name: str, splits: NDArray[np.int8]) -> list[str]:
    """The first row with a number that no sample has, or with another split than the sample's."""
    numbers = data[name].to_numpy()
    unknown = np.flatnonzero(numbers >= len(splits))
    if len(unknown):
        return [
            f"column {name!r} must be a sample of the table samples, 0 to {len(splits) - 1:,}; got "
            f"{numbers[unknown[0]]:,} in row {unknown[0]:,}"
        ]
    split = {"sample": "split", "nearest": "nearest_split"}[name]
    if split not in data.column_names:
        return []
    wrong = np.flatnonzero(splits[numbers] != _split_codes(data[split]))
    if not len(wrong):
        return []
    row = int(wrong[0])
    return [
        f"column {split!r} must be that of the {name} in the table samples; got {data[split][row].as_py()!r} for "
        f"sample {numbers[row]:,} in row {row:,}"
    ]


def _label_faults(data: pa.Table, name: str, samples: Samples) -> list[str]:
    """The first row with a label that no sample of its split has."""
    labels = data[name].to_numpy()
    splits = _split_codes(data["split"])
    for code, split in enumerate(SPLITS):
        known = np.unique(samples.labels[samples.splits == code])
        wrong = np.flatnonzero((splits == code) & ~np.isin(labels, known))
        if len(wrong):
            row = int(wrong[0])
            return [
                f"column {name!r} must be one that {split} samples of the table samples have; got {labels[row]:,} in "
                f"row {row:,}"
            ]
    return []


def neighbor_faults(data: pa.Table) -> list[str]:
    """Samples that are their own neighbors, and ranks that do not run from 1 to the same number for all.

    Only for the table `neighbors`, with its key; filters must not have taken some of a sample's first ranks away.
    """
    if not len(data):
        return []
    sample, rank = data["sample"].to_numpy(), data["rank"].to_numpy()
    if "nearest" in data.column_names:
        itself = np.flatnonzero(sample == data["nearest"].to_numpy())
        if len(itself):
            return [f"column 'nearest' must be another sample; got sample {sample[itself[0]]:,} in row {itself[0]:,}"]
    pair = 2 * _split_codes(data["split"]) + _split_codes(data["nearest_split"])
    group = _combined([_codes(data[name]) for name in ("layer", "pooling", "sample")])
    faults = []
    for code in np.unique(pair):
        chosen = pair == code
        most = int(rank[chosen].max())
        counts = np.bincount(group[chosen])
        if (counts[counts > 0] != most).any():
            faults.append(f"column 'rank' must run from 1 to {most} for each sample; got fewer for some")
    return faults


def agreement_faults(data: pa.Table, samples: Samples) -> list[str]:
    """Return the first row that says of a sample and its neighbor what their labels do not.

    Only for the table `neighbors`, whose samples are known to be there.
    """
    if not {"sample", "nearest", "same_label"} <= set(data.column_names):
        return []
    labels = samples.labels
    same = labels[data["sample"].to_numpy()] == labels[data["nearest"].to_numpy()]
    wrong = np.flatnonzero(same != data["same_label"].to_numpy())
    if not len(wrong):
        return []
    row = int(wrong[0])
    return [
        f"column 'same_label' must be {same[row]}, as the labels in the table samples are; got otherwise in row {row:,}"
    ]


def _column_fault(name: str, data: pa.ChunkedArray, column: Column) -> str:
    """What is wrong with a column in its declared type; "" where nothing is."""
    if column.required and data.null_count:
        row = pc.index(pc.is_null(data), True).as_py()
        return f"column {name!r} must have no gaps; got one in row {row:,}"
    if pa.types.is_dictionary(data.type) or pa.types.is_string(data.type):
        return _text_fault(name, data, column)
    if pa.types.is_boolean(data.type):
        return ""
    if pa.types.is_list(data.type):
        flat = pc.list_flatten(data)
        if flat.null_count:
            return f"column {name!r} must hold lists without gaps; got one"
        return _range_fault(name, column, flat.to_numpy(), rows=False)
    if pa.types.is_integer(data.type):
        return _range_fault(name, column, pc.drop_null(data).to_numpy(), rows=not data.null_count)
    return _range_fault(name, column, data.to_numpy(), rows=True)


def _text_fault(name: str, data: pa.ChunkedArray, column: Column) -> str:
    if column.required or column.choices:
        values = [value for value in pc.unique(data.combine_chunks()).to_pylist() if value is not None]
        if column.required and "" in values:
            return f"column {name!r} must hold texts; got an empty one"
        unknown = sorted(set(values) - set(column.choices)) if column.choices else []
        if unknown:
            return f"column {name!r} must be one of {', '.join(column.choices)}; got {_short(unknown[0])}"
    return ""


def _range_fault(name: str, column: Column, values: NDArray[Any], *, rows: bool) -> str:
    """The first number out of range. rows : whether a value's place is its row."""
    wrong = np.zeros(len(values), dtype=bool)
    slack = 0.0
    if values.dtype.kind == "f":
        slack = _SLACK
        wrong |= np.isnan(values) if column.required else False
        wrong |= np.isinf(values) & ((values < 0) | (not column.infinite))
    if column.least is not None:
        wrong |= values < column.least - slack
    if column.most is not None:
        wrong |= values > column.most + slack
    if not wrong.any():
        return ""
    at = int(wrong.argmax())
    row_text = f" in row {at:,}" if rows else ""
    return f"column {name!r} must {_limits(column)}; got {values[at]}{row_text}"


def _limits(column: Column) -> str:
    """What a number must be, in words."""
    if column.least is None:
        return "be finite numbers"
    if column.most is None:
        return f"be at least {column.least}"
    return f"lie in {column.least} to {column.most}"


def _is_convertible(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column of one type can be read as one of another; single values may still not fit."""
    kind, target = _kind(given), _kind(wanted)
    return kind in {
        "text": ("text", "null"),
        "integer": ("integer", "number", "null"),
        "number": ("integer", "number", "null"),
        "truth": ("truth", "null"),
        "list of integer": ("list of integer", "null"),
        "list of number": ("list of integer", "list of number", "null"),
    }.get(target, ())


def _kind(given: pa.DataType) -> str:
    """A type's kind in a word, whatever its width."""
    types = pa.types
    if types.is_dictionary(given):
        return _kind(given.value_type)
    if types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given):
        return f"list of {_kind(given.value_type)}"
    for kind, is_kind in {
        "null": types.is_null,
        "text": lambda given: types.is_string(given) or types.is_large_string(given),
        "integer": types.is_integer,
        "number": types.is_floating,
        "truth": types.is_boolean,
    }.items():
        if is_kind(given):
            return kind
    return str(given)


def _words(kind: pa.DataType) -> str:
    name = _kind(kind)
    return _KINDS.get(name) or f"lists of {_KINDS.get(name.removeprefix('list of '), name)}"


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """A column in another type; an error where a value does not fit."""
    if column.type == wanted:
        return column.unify_dictionaries() if pa.types.is_dictionary(wanted) else column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_dictionary(wanted):
        encoded = column.cast(wanted.value_type).dictionary_encode()
        return encoded.cast(wanted).unify_dictionaries()
    return column.cast(wanted)


def _codes(column: pa.ChunkedArray) -> NDArray[np.integer[Any]]:
    """A number for each value of a column, equal where the values are; null is a value."""
    codes = column if pa.types.is_integer(column.type) else _encoded(column).indices
    if codes.null_count:
        codes = pc.fill_null(codes, -1)
    return np.asarray(codes.to_numpy())


def _split_codes(column: pa.ChunkedArray) -> NDArray[np.int8]:
    """0 for train, 1 for test."""
    encoded = _encoded(column)
    is_test = np.array([value == "test" for value in encoded.dictionary.to_pylist()], dtype=np.int8)
    return np.asarray(is_test[encoded.indices.to_numpy()])


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column of texts as one array of codes and the texts that they stand for."""
    whole = column.combine_chunks()
    encoded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    return encoded.unify_dictionaries().combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def _combined(columns: Sequence[NDArray[np.integer[Any]]]) -> NDArray[np.int64]:
    """One number for each combination of codes."""
    code, span = np.zeros(len(columns[0]), dtype=np.int64), 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if low == high:  # of a large table most columns have one value in the rows that are read at once
            continue
        width = high - low + 1
        if span * width >= 1 << 62:
            code, span = _dense(code), len(code) + 1
        code *= width
        code += column
        code -= low
        span *= width
    return code


def _dense(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same codes without gaps."""
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _first_repeated(columns: Sequence[NDArray[np.integer[Any]]]) -> int | None:
    """The first row whose values another row before it has, too."""
    code = _combined(columns)
    if (code[1:] > code[:-1]).all():
        return None
    order = np.argsort(code, kind="stable")
    repeated = order[1:][code[order][1:] == code[order][:-1]]
    return int(repeated.min()) if len(repeated) else None


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:_MOST_SHOWN] if text.isprintable() else _short(text)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} …"


def samples_by_number(data: pa.Table) -> tuple[Samples, list[str]]:
    """The samples by their number; and what is wrong with the numbers."""
    numbers = data["sample"].to_numpy()
    splits, labels = np.zeros(len(numbers), dtype=np.int8), np.zeros(len(numbers), dtype=np.int64)
    if len(numbers) and numbers.max() >= len(numbers):
        row = int(numbers.argmax())
        return Samples(splits, labels), [
            f"column 'sample' must number the samples from 0 to {len(numbers) - 1:,}; got {numbers[row]:,} in row "
            f"{row:,}"
        ]
    splits[numbers], labels[numbers] = _split_codes(data["split"]), data["label"].to_numpy()
    return Samples(splits, labels), []
