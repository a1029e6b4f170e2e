"""What damaged Parquet files say of themselves is an error, never the end of the process."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.data.parquet import column_chunks

EVERY_BYTE = """
import pathlib, sys
import pyarrow as pa, pyarrow.parquet as pq
from core.data.parquet import column_chunks

whole, damaged = pathlib.Path(sys.argv[1]).read_bytes(), pathlib.Path(sys.argv[2])
footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
refused = 0
for place in range(footer, len(whole) - 8):
    for mask in (1, 2, 128):
        content = bytearray(whole)
        content[place] ^= mask
        damaged.write_bytes(content)
        try:
            column_chunks(pq.ParquetFile(damaged))
        except (OSError, ValueError, pa.ArrowException):
            refused += 1
print(refused)
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"text": ["a", None, "b"], "lists": [[1], [], [2, 3]]}), path)
    return path


def test_the_chunks_of_a_whole_file(table: Path):
    assert [(chunk.path_in_schema, chunk.num_values) for chunk in column_chunks(pq.ParquetFile(table))] == [
        ("text", 3),
        ("lists.list.element", 4),
    ]


def test_no_damaged_description_ends_the_process(table: Path, tmp_path: Path):
    command = [sys.executable, "-c", EVERY_BYTE, str(table), str(tmp_path / "damaged.parquet")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-500:]
    assert int(ended.stdout) > 100
