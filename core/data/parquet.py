"""What a Parquet file says of its columns, asked for so that a damaged file is an error and not the process's end."""

from typing import Any

import pyarrow.parquet as pq


def column_chunks(file: pq.ParquetFile) -> list[Any]:
    """Return the descriptions (`pyarrow.parquet.ColumnChunkMetaData`) of all columns of all row groups.

    Where a description contradicts the schema, PyArrow (26 and before) ends the process when it is asked for. So each
    row group is begun to be read first, one row of it, which finds the same and raises.

    Raises
    ------
    OSError, ValueError, pyarrow.ArrowException
        The file is damaged.
    """
    groups = range(file.metadata.num_row_groups)
    for group in groups:
        next(file.iter_batches(batch_size=1, row_groups=[group]), None)
    columns = range(file.metadata.num_columns)
    return [file.metadata.row_group(group).column(column) for group in groups for column in columns]
