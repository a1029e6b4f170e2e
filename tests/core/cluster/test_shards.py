"""Arrays in shards: any rows come back as they were written, from a folder and from other storage."""

from pathlib import Path

import fsspec
import numpy as np
import pytest

from core.cluster.shards import Shards, nearby_rows, num_selected, row_numbers, select_rows

FEATURES = np.random.default_rng(0).normal(size=(23, 7)).astype(np.float32)


@pytest.fixture(params=["folder", "memory://shards"])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> Shards:
    address = str(tmp_path / "layer") if request.param == "folder" else request.param
    found = Shards(address, 23, 7, 5)
    found.create()
    for start in range(0, 23, 5):
        found.write(start, FEATURES[start : start + 5])
    return found


@pytest.mark.parametrize("rows", [slice(0, 23), slice(4, 6), slice(5, 10), slice(22, 23)], ids=str)
def test_consecutive_rows(shards: Shards, rows: slice):
    np.testing.assert_array_equal(shards.read(rows), FEATURES[rows])


@pytest.mark.parametrize("rows", [[0, 22], [4, 5, 9, 10, 21], [7], [21, 3, 9, 4]], ids=str)
def test_scattered_rows(shards: Shards, rows: list[int]):
    np.testing.assert_array_equal(shards.read(np.array(rows)), FEATURES[rows])


def test_what_lies_between_scattered_rows_is_not_read(tmp_path: Path):
    wide = np.random.default_rng(1).normal(size=(9, 20_000)).astype(np.float32)  # 80,000 bytes a row
    found = Shards(str(tmp_path / "layer"), 9, 20_000, 9)
    found.create()
    found.write(0, wide)
    np.testing.assert_array_equal(found.read(np.array([1, 2, 5, 8])), wide[[1, 2, 5, 8]])
    assert [run.tolist() for run in nearby_rows(np.array([1, 2, 5, 8]), 80_000)] == [[1, 2], [5], [8]]
    assert [run.tolist() for run in nearby_rows(np.array([1, 2, 5, 8]), 80)] == [[1, 2, 5, 8]]


def test_all_rows(shards: Shards):
    np.testing.assert_array_equal(shards.read_all(), FEATURES)


def test_a_part_of_an_array_is_filled_in_place(shards: Shards):
    room = np.zeros((10, 7), np.float32)
    shards.read_into(slice(3, 12), room[1:])
    np.testing.assert_array_equal(room[1:], FEATURES[3:12])
    assert not room[0].any()


def test_a_shard_is_a_file_that_numpy_reads(tmp_path: Path):
    shards = Shards(str(tmp_path), 8, 7, 5)
    shards.write(5, FEATURES[5:8])
    assert [file.name for file in tmp_path.iterdir()] == ["000001.npy"]  # and nothing half written
    np.testing.assert_array_equal(np.load(tmp_path / "000001.npy"), FEATURES[5:8])


def test_writing_again_changes_nothing(shards: Shards):
    shards.write(5, FEATURES[5:10])
    np.testing.assert_array_equal(shards.read_all(), FEATURES)


def test_a_late_task_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Shards(str(tmp_path / "removed"), 8, 7, 5).write(5, FEATURES[5:8])
    assert not list(tmp_path.iterdir())


def test_a_shard_that_is_too_short_is_an_error(shards: Shards):
    system, path = fsspec.url_to_fs(shards.address)
    whole = system.cat_file(f"{path}/000002.npy")
    system.pipe_file(f"{path}/000002.npy", whole[:-8])
    with pytest.raises(OSError, match="shard must be complete; got 8 bytes too few"):
        shards.read_all()


def test_rows_as_places():
    assert select_rows(np.array([3, 4, 5])) == slice(3, 6)
    scattered = np.array([3, 5])
    assert select_rows(scattered) is scattered
    turned = np.array([3, 5, 4, 6])
    assert select_rows(turned) is turned
    assert num_selected(slice(3, 6)) == 3
    assert num_selected(scattered) == 2
    assert row_numbers(slice(3, 6)).tolist() == [3, 4, 5]
