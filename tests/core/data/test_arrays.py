"""Arrays of features in files: what is read, by its header first, and what is refused."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.data.arrays import list_layers
from core.data.errors import DataError

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


def refuse(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _ = [layer.read() for layer in list_layers(path)]


# What is read


@pytest.mark.parametrize("values", [VALUES, VALUES.reshape(2, 2, 3), VALUES[:, 0], VALUES > 4, VALUES.astype(np.uint8)])
def test_npy_is_mapped(tmp_path: Path, values: np.ndarray):
    np.save(tmp_path / "conv.npy", values)
    (layer,) = list_layers(tmp_path / "conv.npy")
    assert (layer.name, layer.num_samples) == ("conv", len(values))
    read = layer.read()
    assert read.dtype == values.dtype
    assert not read.flags.owndata
    np.testing.assert_array_equal(read, values)


def test_fortran_order_and_newer_headers(tmp_path: Path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(VALUES), version=(2, 0))
    np.testing.assert_array_equal(list_layers(tmp_path / "a.npy")[0].read(), VALUES)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_holds_layers_in_its_order_and_labels(tmp_path: Path, save):
    save(tmp_path / "f.npz", stem=VALUES, labels=np.array([0, 1, 0, 1]), block10=VALUES + 1, block2=VALUES + 2)
    layers = list_layers(tmp_path / "f.npz")
    assert [layer.name for layer in layers] == ["stem", "block10", "block2"]
    for number, layer in enumerate(layers):
        np.testing.assert_array_equal(layer.read(), VALUES + number)


def test_parquet_columns_side_by_side(tmp_path: Path):
    frame = pd.DataFrame({"a": VALUES[:, 0], "b": [1, 2, 3, 4], "breed": list("xyxy"), "c": [True, False, True, True]})
    frame.to_parquet(tmp_path / "f.parquet")
    (layer,) = list_layers(tmp_path / "f.parquet", ("breed",))
    assert (layer.name, layer.num_samples) == ("f", 4)
    assert layer.read().tolist() == [[0, 1, 1], [3, 2, 0], [6, 3, 1], [9, 4, 1]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 3)])
def test_parquet_columns_of_lists(tmp_path: Path, kind: pa.DataType):
    table = pa.table({"embedding": pa.array(VALUES.tolist(), kind), "extra": [5, 6, 7, 8]})
    pq.write_table(table, tmp_path / "f.parquet", row_group_size=3)  # in several pieces
    (layer,) = list_layers(tmp_path / "f.parquet")
    np.testing.assert_array_equal(layer.read(), np.column_stack([VALUES, [5, 6, 7, 8]]))


def test_a_narrow_type_stays_narrow(tmp_path: Path):
    pd.DataFrame(VALUES.astype(np.float32), columns=list("abc")).to_parquet(tmp_path / "f.parquet")
    assert list_layers(tmp_path / "f.parquet")[0].read().dtype == np.float32


# What is refused


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize("name", ["f.npy", "f.npz"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str):
    evil = np.array([Evil(), None], dtype=object)
    if name == "f.npy":
        np.save(tmp_path / name, evil, allow_pickle=True)
    else:
        np.savez(tmp_path / name, layer=evil)
    refuse(tmp_path / name, r"f\.np[yz] must hold plain numbers; got pickled objects, which can run code when read\.")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32(3), r"must hold real numbers of shape \(n, d\) or \(n, \.\.\.\); got float32 of shape \(\)"),
        (np.zeros((3, 0)), r"got float64 of shape \(3, 0\)"),
        (np.array([["a", "b"]]), r"got <U1 of shape \(1, 2\)"),
        (VALUES * 1j, "got complex64"),
        (np.array([[0, 1], [np.nan, 1]]), r"must hold finite numbers; got nan in row 1, column 0\. Remove or impute"),
        (np.array([[[0.0], [1.0]], [[2.0], [-np.inf]]]), r"got -inf in row 1, column 1"),
    ],
)
def test_values_that_are_no_features(tmp_path: Path, values: np.ndarray, message: str):
    np.save(tmp_path / "f.npy", values)
    refuse(tmp_path / "f.npy", message)
    np.savez(tmp_path / "f.npz", layer=values)
    refuse(tmp_path / "f.npz", message)


def test_an_entry_is_named(tmp_path: Path):
    np.savez(tmp_path / "f.npz", good=VALUES, bad=np.array(["x"]))
    refuse(tmp_path / "f.npz", r"array 'bad' of .*f\.npz must hold real numbers")


def test_a_gap_late_in_a_large_file_is_found(tmp_path: Path):
    values = np.zeros((1_500_000, 3), np.float16)  # more than one block of the check
    values[1_499_999, 2] = np.inf
    np.save(tmp_path / "f.npy", values)
    refuse(tmp_path / "f.npy", "got inf in row 1499999, column 2")


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("f.npy", b"", r"f\.npy must be a NumPy array; got: .*Write it again"),
        ("f.npy", b"layer,1,2", r"f\.npy must be a NumPy array; got"),
        ("f.npz", b"PK", r"must be an \.npz file; got another format or an incomplete file"),
        ("f.npz", zipped(), r"must hold an array of features; got none"),
        ("f.npz", zipped(layer=b"x"), r"array 'layer' of .*f\.npz must be a NumPy array"),
        ("f.parquet", b"PAR1", r"must be a Parquet file; got"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, name: str, data: bytes, message: str):
    (tmp_path / name).write_bytes(data)
    refuse(tmp_path / name, message)


@pytest.mark.parametrize("name", ["f.npy", "f.npz"])
def test_files_that_were_cut_short(tmp_path: Path, name: str):
    np.save(tmp_path / "f.npy", VALUES)
    np.savez(tmp_path / "f.npz", layer=VALUES)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:140])
    refuse(tmp_path / name, "cannot be read: .* Write it again" if name == "f.npy" else r"must be an \.npz file")


def test_an_npz_of_labels_alone(tmp_path: Path):
    np.savez(tmp_path / "f.npz", labels=np.array([1, 2]))
    refuse(tmp_path / "f.npz", "must hold an array of features; got labels")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"a": [1, 2], "breed": ["x", "y"]},
            r"must be numbers, or lists of numbers; got 'breed' \((large_)?string\)\.",
        ),
        (
            {"a": [1, 2], "label": [0, 1]},
            r"must be features; got 'label', which by their names are not\. Name the labels with --labels",
        ),
        ({"a": [1, 2], "ID": [7, 8]}, "got 'ID', which by their names are not"),
        ({"a": [1.0, None]}, "column 'a' of .* must not have missing values; got some"),
        ({"a": [[1.0], [1.0, 2.0]]}, "the lists in column 'a' of .* must have equal lengths; got 1 to 2"),
        ({"a": [[1.0], [None]]}, "column 'a' of .* must not have missing values"),
        ({"a": [1.0, float("nan")]}, "must hold finite numbers; got nan in row 1, column 0"),
        ({"a": pa.array([], pa.float32())}, "must be numbers, or lists of numbers; got no such"),
    ],
)
def test_tables_that_are_no_features(tmp_path: Path, columns: dict, message: str):
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    refuse(tmp_path / "f.parquet", message)


def test_an_index_that_pandas_stored_is_no_feature(tmp_path: Path):
    pd.DataFrame({"a": [1.0, 2.0]}, index=[5, 3]).to_parquet(tmp_path / "f.parquet")
    refuse(tmp_path / "f.parquet", "got '__index_level_0__', which by their names are not")


def test_another_kind_of_file_is_wrong_usage(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"must be a file of \.npy, \.npz, \.parquet, or a folder of them; got 'x\.h5'\. Save them as"
    ):
        list_layers(Path("x.h5"))


def _refusal(path: Path) -> str | None:
    """Why the layers of a file cannot be read; None where they can."""
    try:
        for layer in list_layers(path):
            layer.read()
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("compressed", [False, True])
def test_every_way_in_which_an_archive_can_be_damaged_is_one_sentence(tmp_path: Path, compressed: bool):
    """Each byte of an archive is turned round in its turn: it is read as before, or refused with the file's name."""
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "whole.npz", a=np.arange(12.0).reshape(6, 2))
    whole = (tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    refusals = []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        refusals += [refusal for refusal in [_refusal(path)] if refusal]
    assert len(refusals) > len(whole) // 2
    assert all(str(path) in refusal for refusal in refusals)


def test_a_damaged_member_is_named(tmp_path: Path):
    np.savez_compressed(tmp_path / "f.npz", a=np.random.default_rng(0).random((40, 4)).astype(np.float32))
    data = bytearray((tmp_path / "f.npz").read_bytes())
    data[300] ^= 255
    (tmp_path / "f.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"array 'a' of .*f\.npz is damaged and cannot be read: .*\. Write it again\."):
        [layer.read() for layer in list_layers(tmp_path / "f.npz")]
