"""Features with labels: one file or a folder, the order of layers, where labels come from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.errors import DataError
from core.data.features import open_features, open_test_features

LABELS = [0, 1, 0, 1]


def save(folder: Path, *names: str, num_samples: int = 4) -> Path:
    """Files whose values tell their place among the names."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        np.save(folder / name, np.full((num_samples, 2), number, np.float32))
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> str:
    np.save(tmp_path / "y.npy", LABELS)
    return str(tmp_path / "y.npy")


def test_the_file_alone(tmp_path: Path, labels: str):
    save(tmp_path / "f", "conv.npy")
    opened = open_features(tmp_path / "f/conv.npy", labels)
    assert [layer.name for layer in opened.layers] == ["conv"]
    assert opened.labels.tolist() == LABELS


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["conv10.npy", "Conv2.npy", "stem.npy", "add.npy"], ["add", "Conv2", "conv10", "stem"]),
        (["10-a.npy", "2-b.npy", "03_c.npy", "1. d.npy"], ["d", "b", "c", "a"]),
        (["1-a.npy", "2-a.npy"], ["1-a", "2-a"]),  # without their numbers they would be one
        (["1-a.npy", "b.npy"], ["1-a", "b"]),
    ],
)
def test_a_folder_in_order(tmp_path: Path, labels: str, files: list[str], expected: list[str]):
    save(tmp_path / "f", *files)
    (tmp_path / "f" / "notes.md").touch()
    (tmp_path / "f" / ".hidden.npy").touch()
    opened = open_features(tmp_path / "f", labels)
    assert [layer.name for layer in opened.layers] == expected
    by_name = {layer.path.name: int(layer.read()[0, 0]) for layer in opened.layers}
    assert by_name == {name: number for number, name in enumerate(files)}


def test_a_folder_with_archives_and_tables(tmp_path: Path):
    save(tmp_path / "f", "02-b.npy")
    np.savez(tmp_path / "f/01-a.npz", x=np.ones((4, 2)), y=np.zeros((4, 3)))
    pd.DataFrame({"u": [1.0, 2, 3, 4], "breed": list("pqpq")}).to_parquet(tmp_path / "f/03-c.parquet")
    opened = open_features(tmp_path / "f", "breed")
    assert [layer.name for layer in opened.layers] == ["a/x", "a/y", "b", "c"]
    assert opened.labels.tolist() == list("pqpq")
    assert opened.layers[-1].read().tolist() == [[1], [2], [3], [4]]


@pytest.mark.parametrize("name", ["labels.npy", "labels.txt", "labels.csv", "labels.parquet"])
def test_labels_beside_the_layers(tmp_path: Path, name: str):
    save(tmp_path / "f", "a.npy")
    path = tmp_path / "f" / name
    if name == "labels.npy":
        np.save(path, LABELS)
    elif name == "labels.parquet":
        pd.DataFrame({"y": LABELS}).to_parquet(path)
    else:
        path.write_text("\n".join(map(str, LABELS)))
    opened = open_features(tmp_path / "f")
    assert [layer.name for layer in opened.layers] == ["a"]
    assert opened.labels.tolist() == LABELS


def test_labels_within_an_npz_file_unless_others_are_named(tmp_path: Path, labels: str):
    np.savez(tmp_path / "f.npz", a=np.ones((4, 2)), labels=np.array(["p", "q", "p", "p"]))
    assert open_features(tmp_path / "f.npz").labels.tolist() == ["p", "q", "p", "p"]
    assert open_features(tmp_path / "f.npz", labels).labels.tolist() == LABELS


# Failures


def test_labels_must_be_given(tmp_path: Path):
    save(tmp_path / "f", "a.npy")
    for path in (tmp_path / "f", tmp_path / "f/a.npy"):
        with pytest.raises(ValueError, match=r"labels must be given, since .* holds none; got nothing"):
            open_features(path)


def test_a_column_that_is_not_there(tmp_path: Path):
    frame = pd.DataFrame({**{f"u{place}": [1.0, 2.0] for place in range(7)}, "breed": ["p", "q"]})
    frame.to_parquet(tmp_path / "f.parquet")
    known = r"Its columns are u0, u1, u2, u3, u4 and 3 more\.$"
    with pytest.raises(
        ValueError, match=rf"^labels must name a file, or a column of .*f\.parquet; got 'bred'\. {known}"
    ):
        open_features(tmp_path / "f.parquet", "bred")


def test_a_column_that_one_of_the_tables_lacks(tmp_path: Path, labels: str):
    (tmp_path / "f").mkdir()
    frame = pd.DataFrame({"u": [1.0, 2, 3, 4], "breed": LABELS})
    frame.to_parquet(tmp_path / "f/a.parquet")
    frame[["u"]].to_parquet(tmp_path / "f/b.parquet")
    with pytest.raises(ValueError, match=r"a column of .*b\.parquet; got 'breed'\. Its columns are u\.$"):
        open_features(tmp_path / "f", "breed")
    assert open_features(tmp_path / "f", labels).labels.tolist() == LABELS


def test_tables_in_another_order_are_found_out(tmp_path: Path):
    (tmp_path / "f").mkdir()
    frame = pd.DataFrame({"u": [1.0, 2, 3, 4], "breed": list("pqpq")})
    frame.to_parquet(tmp_path / "f/a.parquet")
    assert open_features(tmp_path / "f", "breed").labels.tolist() == list("pqpq")
    frame.iloc[::-1].reset_index(drop=True).to_parquet(tmp_path / "f/b.parquet")
    with pytest.raises(DataError, match=r"'breed' must be the same in all tables; .*b\.parquet differs from .*a\.parq"):
        open_features(tmp_path / "f", "breed")


def test_lengths_that_differ(tmp_path: Path, labels: str):
    save(tmp_path / "f", "a.npy")
    save(tmp_path / "f", "b.npy", num_samples=5)
    with pytest.raises(DataError, match=r"must all have the same samples; got 4 in 'a' and 5 in 'b'"):
        open_features(tmp_path / "f", labels)
    with pytest.raises(DataError, match=r"labels in .*y\.npy must be 5, one for each sample; got 4"):
        open_features(tmp_path / "f/b.npy", labels)


def test_a_layer_in_two_files(tmp_path: Path, labels: str):
    save(tmp_path / "f", "a.npy")
    np.savez(tmp_path / "f/a.npz", x=np.ones((4, 2)))
    with pytest.raises(DataError, match=r"each layer must have its own file; got several for a\."):
        open_features(tmp_path / "f", labels)


def test_a_folder_without_features(tmp_path: Path, labels: str):
    with pytest.raises(DataError, match=r"must hold files of \.npy, \.npz, \.parquet, one per layer; got none"):
        open_features(save(tmp_path / "f"), labels)
    with pytest.raises(FileNotFoundError, match="features must be a file or a folder; there is no"):
        open_features(tmp_path / "g", labels)


# Ids


def test_ids_are_no_features_wherever_they_lie(tmp_path):
    ids = np.array([f"{number:03d}" for number in range(6)])
    labels, values = np.arange(6) % 2, np.arange(12.0).reshape(6, 2)
    np.savez(tmp_path / "f.npz", a=values, labels=labels, ids=ids)
    frame = pd.DataFrame(values, columns=["x", "y"]).assign(breed=labels, image=ids)
    frame.to_parquet(tmp_path / "f.parquet", index=False)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "a.npy", values)
    np.save(tmp_path / "folder" / "labels.npy", labels)
    (tmp_path / "folder" / "ids.txt").write_text("\n".join(ids), encoding="utf-8")
    for found in (
        open_features(tmp_path / "f.npz"),
        open_features(tmp_path / "f.parquet", "breed", "image"),
        open_features(tmp_path / "folder"),
        open_features(tmp_path / "folder", ids=f"{tmp_path / 'f.parquet'}:image"),
    ):
        assert found.ids.tolist() == ids.tolist()  # 007 is no number
        assert found.labels.tolist() == labels.tolist()
        assert [layer.read().shape for layer in found.layers] == [(6, 2)]
    table = tmp_path / "f.parquet"
    assert open_test_features(table, None, open_features(table, "breed", "image")).ids.tolist() == ids.tolist()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], r"ids in .* must be distinct; got 'a' more than once"),
        (["a", "b"], r"ids in .* must be 3, one for each sample; got 2"),
        ([0.5, 1.5, 2.5], r"ids in .* must be integers or strings of shape \(n,\); got float64"),
    ],
)
def test_bad_ids(tmp_path, ids, message):
    np.savez(tmp_path / "f.npz", a=np.ones((3, 2)), labels=np.arange(3), ids=np.array(ids))
    with pytest.raises(DataError, match=message):
        open_features(tmp_path / "f.npz")


def test_a_table_without_the_column_of_ids(tmp_path):
    pd.DataFrame({"x": [1.0, 2.0], "breed": [0, 1]}).to_parquet(tmp_path / "f.parquet", index=False)
    with pytest.raises(
        ValueError, match=r"ids must name a file, or a column of .*; got 'image'\. Its columns are x, breed"
    ):
        open_features(tmp_path / "f.parquet", "breed", "image")
