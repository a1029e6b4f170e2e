"""Labels in files: every format, and every way they can be wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.errors import DataError
from core.data.labels import column_note, read_ids, read_labels

NAMES = ["cat", "dog", "cat"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("l.txt", "cat\ndog\ncat\n", NAMES),
        ("l.txt", "10\n2\n10", [10, 2, 10]),
        ("l.txt", "\ufeff1\r\n-2\r\n3\r\n", [1, -2, 3]),
        ("l.txt", "1\n2\nmany\n", ["1", "2", "many"]),
        ("l.txt", "great dane\nfox, red\nx\n", ["great dane", "fox, red", "x"]),
        ("l.csv", "cat\ndog\ncat\n", NAMES),
        ("l.csv", "breed\ncat\ndog\ncat\n", NAMES),  # one line more than samples: a header
        ("l.csv:breed", "id,breed\n0,cat\n1,dog\n2,cat\n", NAMES),
        ("l.csv:id", 'id,breed\n0,"a, b"\n1,dog\n2,cat\n', [0, 1, 2]),
        ("l.csv:breed", "breed\ncat\ndog\ncat\n", NAMES),
        # An index without a name, as pandas writes it, is never the labels.
        ("l.csv", ",breed\n0,cat\n1,dog\n2,cat\n", NAMES),
        ("l.csv", ",breed\n17,cat\n4,dog\n9,cat\n", NAMES),
        ("l.csv", "Unnamed: 0,breed\n0,cat\n1,dog\n2,cat\n", NAMES),
        ("l.csv", '"";"breed"\n0;"cat"\n1;"dog"\n2;"cat"\n', NAMES),
        ("l.csv", "\tbreed\n0\tcat\n1\tdog\n2\tcat\n", NAMES),
        ("l.csv", "cats; small\ndogs\ncats; small\n", ["cats; small", "dogs", "cats; small"]),
        # What is written differently stays different.
        ("l.txt", "10\n1_0\n10\n", ["10", "1_0", "10"]),
        ("l.txt", "1\n01\n1\n", ["1", "01", "1"]),
        ("l.txt", "1\n+1\n-0\n", ["1", "+1", "-0"]),
        ("l.txt", "1\n1.0\n1e0\n", ["1", "1.0", "1e0"]),
        ("l.txt", "1\n１\n1\n", ["1", "１", "1"]),
        ("l.txt", "Cat\ncat\nCat\n", ["Cat", "cat", "Cat"]),
        ("l.txt", " 1 \n2\t\n1\n", [1, 2, 1]),
        ("l.txt", "none\ncat\nnone\n", ["none", "cat", "none"]),  # in small letters it may be a class
        ("l.txt", "0.0\n1.0\n0.0\n", ["0.0", "1.0", "0.0"]),
        ("l.csv", '"cat"\ndog\n"the ""cat"""\n', ["cat", "dog", 'the "cat"']),
        ("l.csv", 'y\n"fox, red"\n"dog"\ncat\n', ["fox, red", "dog", "cat"]),
        ("l.txt", "class\ncat\nclass\n", ["class", "cat", "class"]),  # a header stands once
        ("l.txt", "0\n9223372036854775807\n-5\n", [0, 9223372036854775807, -5]),
        ("l.txt", "0\n9223372036854775808\n0\n", ["0", "9223372036854775808", "0"]),
        ("l.txt", "99999999999999999999\n1\n2\n", ["99999999999999999999", "1", "2"]),
    ],
)
def test_text(tmp_path: Path, name: str, text: str, expected: list):
    (tmp_path / name.split(":")[0]).write_text(text, encoding="utf-8", newline="")
    labels = read_labels(str(tmp_path / name), 3)
    assert labels.tolist() == expected


@pytest.mark.parametrize("values", [NAMES, [3, 1, 3], [True, False, True]])
def test_npy_and_parquet(tmp_path: Path, values: list):
    np.save(tmp_path / "l.npy", np.array(values))
    assert read_labels(str(tmp_path / "l.npy"), 3).tolist() == values
    pd.DataFrame({"y": values}).to_parquet(tmp_path / "one.parquet")
    assert read_labels(str(tmp_path / "one.parquet"), 3).tolist() == values
    pd.DataFrame({"x": [1, 2, 3], "y": values}).to_parquet(tmp_path / "two.parquet")
    labels = read_labels(f"{tmp_path / 'two.parquet'}:y", 3)
    assert labels.tolist() == values
    assert labels.dtype.kind in "biU"


def test_an_index_in_a_table_is_never_the_labels(tmp_path: Path):
    frame = pd.DataFrame({"y": NAMES}, index=[5, 3, 9])
    frame.to_parquet(tmp_path / "l.parquet")
    frame.to_csv(tmp_path / "l.csv")
    for name in ("l.parquet", "l.csv"):
        assert read_labels(str(tmp_path / name), 3).tolist() == NAMES
        assert "the column 'y'" in column_note(str(tmp_path / name), "labels")
    assert column_note(f"{tmp_path / 'l.csv'}:y", "labels") == ""


def test_a_column_that_stands_twice_is_not_guessed(tmp_path: Path):
    (tmp_path / "l.csv").write_text("y,y\n1,2\n1,2\n2,1\n")
    with pytest.raises(ValueError, match="labels must name one of the columns"):
        read_labels(f"{tmp_path / 'l.csv'}:y", 3)


def test_categories(tmp_path: Path):
    pd.DataFrame({"y": pd.Categorical(NAMES)}).to_parquet(tmp_path / "l.parquet")
    assert read_labels(str(tmp_path / "l.parquet"), 3).tolist() == NAMES


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "a\n\nb\n", r"must not be empty; got nothing in line 2"),
        ("l.txt", "a\nb\n", r"labels in .*l\.txt must be 3, one for each sample; got 2"),
        ("l.csv", "y\na\nb\nc\nd\n", "must be 3, one for each sample; got 5"),
        ("l.txt", "1\nnan\n2\n", r"must not be missing; got 'nan' among numbers"),
        ("l.txt", "cat\nnan\nNA\n", "must not be missing; got 'nan' and the like for 2 of 3 samples"),
        ("l.csv:y", "y,x\ncat,1\nNone,2\ndog,3\n", "must not be missing; got 'None' and the like for 1 of 3 samples"),
        ("l.txt", "a\n\n\n", "got nothing in line 2 and 1 more"),
        ("l.csv", "label\ncat\ndog\n", r"must be 3, one for each sample; got the header 'label' and 2\."),
        ("l.txt", "# breeds\ncat\ndog\n", "got the header '# breeds' and 2"),
        ("l.txt", "kind\n0\n1\n", "got the header 'kind' and 2"),
        ("l.csv", "price\n0.5\n1\n-2e3\n", "must be classes; got real numbers such as 0.5.*core.smoothness_index"),
        ("l.txt", "0,cat\n1,dog\n2,cat\n", r"got numbered lines such as '0,cat'.*name the file \.csv"),
        ("l.csv:b", "a,b\n1,2\n3\n4,5\n", r"the lines of .*l\.csv must all have 2 columns"),
    ],
)
def test_text_that_cannot_be_used(tmp_path: Path, name: str, text: str, message: str):
    (tmp_path / name.split(":")[0]).write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(str(tmp_path / name), 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0.5, 1, 2]), r"must be classes; got real numbers such as 0\.5"),
        (np.array([0.0, 1, 2]), r"must be integers or strings of shape \(n,\); got float64 of shape \(3,\)"),
        (np.eye(3, dtype=int), r"got int64 of shape \(3, 3\), one-hot rows\. Pass labels\.argmax\(axis=1\)"),
        (np.array([[1, 1], [0, 1], [0, 0]]), r"several labels a sample \(multi-label\).*core\.smoothness_index"),
        (np.array(["a", None, "b"], dtype=object), "cannot be read: .*Python objects in dtype"),
    ],
)
def test_arrays_that_are_no_labels(tmp_path: Path, values: np.ndarray, message: str):
    np.save(tmp_path / "l.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_labels(str(tmp_path / "l.npy"), 3)


def test_gaps_in_a_column(tmp_path: Path):
    pd.DataFrame({"y": ["a", None, "b"]}).to_parquet(tmp_path / "l.parquet")
    with pytest.raises(DataError, match=r"column 'y' of .* must not have missing values; got 1\."):
        read_labels(str(tmp_path / "l.parquet"), 3)


def test_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "l.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"must be text in UTF-8; got other bytes"):
        read_labels(str(tmp_path / "l.txt"), 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "none.txt",
            r"must be in an existing file of \.npy, \.txt, \.csv, \.parquet; got '.*none\.txt'. Check the path",
        ),
        ("l.pkl", r"must be in an existing file of .*l\.pkl'\. Save them as one of these"),
        ("l.csv:z", r"must name one of the columns of .*l\.csv, x, y; got 'z'"),
        ("l.csv", r"must name one of the columns of .*l\.csv, x, y; got ''"),
        ("l.parquet", r"must name one of the columns of .*l\.parquet, x, y; got ''"),
    ],
)
def test_what_is_asked_for_must_be_there(tmp_path: Path, name: str, message: str):
    (tmp_path / "l.pkl").touch()
    frame = pd.DataFrame({"x": [1, 2, 3], "y": NAMES})
    frame.to_csv(tmp_path / "l.csv", index=False)
    frame.to_parquet(tmp_path / "l.parquet")
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(str(tmp_path / name), 3)
    assert not isinstance(caught.value, DataError)


def test_a_real_column_of_a_table_is_a_target_and_no_labels(tmp_path: Path):
    pd.DataFrame({"y": [0.5, 1.0, 2.0]}).to_parquet(tmp_path / "l.parquet")
    with pytest.raises(DataError, match=r"must be classes; got real numbers such as 0\.5\. .*core\.smoothness_index"):
        read_labels(f"{tmp_path / 'l.parquet'}:y", 3)


def test_ids_with_a_header_and_one_too_few(tmp_path: Path):
    (tmp_path / "ids.csv").write_text("id\na\nb\n")
    with pytest.raises(DataError, match=r"ids in .* must be 3, one for each sample; got the header 'id' and 2"):
        read_ids(str(tmp_path / "ids.csv"), 3)


@pytest.mark.parametrize(
    ("header", "example"),
    [
        ("id,fold", "fold"),
        ("label,id", "label"),
        ("Class,id,fold", "Class"),
        ("y,z", "y"),
        ("a, target ,b", " target "),
    ],
)
def test_the_example_of_a_column_is_the_one_that_is_called_as_labels_are(tmp_path: Path, header: str, example: str):
    path = tmp_path / "l.csv"
    path.write_text("\n".join([header, *(",".join("123"[: header.count(",") + 1]) for _ in range(3))]))
    with pytest.raises(ValueError, match=rf"Write it after the file, as in .*l\.csv:{example}\."):
        read_labels(str(path), 3)


@pytest.mark.parametrize("column", ["", ":0", ":label"])
@pytest.mark.parametrize(
    "text", ["0,0\n1,0\n2,1\n", "a.png,cat\nb.png,dog\nc.png,cat\n", "3;0.5;7\n4;0.5;7\n5;0.5;8\n"]
)
def test_a_table_without_a_header_is_told_so(tmp_path: Path, text: str, column: str):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(
        ValueError, match=r"looks like data\. Add a line before it that names the [23] columns, and .*:label"
    ):
        read_labels(f"{tmp_path / 'l.csv'}{column}", 3)
    with pytest.raises(ValueError, match=r"ids must be in a column .* looks like data\. .*l\.csv:id\."):
        read_ids(f"{tmp_path / 'l.csv'}{column}", 3)


def test_a_header_that_is_also_a_class_is_no_data(tmp_path: Path):
    (tmp_path / "l.csv").write_text("id,class\n1,class\n2,2020\n")
    with pytest.raises(ValueError, match=r"labels must name one of the columns of .*, id, class; .*l\.csv:class\."):
        read_labels(str(tmp_path / "l.csv"), 2)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("l.txt", "a\n\nb\n", 2),
        ("l.csv", "label\na\n\nb\n", 3),  # with a header
        ("l.csv", "a\n\nb\n", 2),  # without
        ("l.csv:label", "id,label\n1,a\n2,\n3,b\n", 3),
        ("l.csv:label", "id,label\n\n1,a\n\n2,\n3,b\n", 5),  # an empty line is no row of a table
        ("l.csv:label", 'id,label\n1,"a"\n2," "\n3,b\n', 3),
    ],
)
def test_an_empty_label_is_told_by_its_line_in_the_file(tmp_path: Path, name: str, text: str, line: int):
    (tmp_path / name.split(":")[0]).write_text(text)
    with pytest.raises(DataError, match=rf"got nothing in line {line}\. "):
        read_labels(str(tmp_path / name), 3)
