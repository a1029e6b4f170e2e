"""Reading a study: columns, parts and merged tables, states, and what is no study."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import core
from core.study.store.locks import lock_file
from core.study.store.opening import FORMAT, SCHEMAS, finished_layers, is_being_written, load_study
from core.study.store.writing import begin, end, study_lock, write_layer

INFO = {"asked": {"model": "tiny", "per_class": None}, "used": {"data": {"fingerprint": "f1"}}}
SAMPLES = pd.DataFrame(
    {
        "sample": range(3),
        "split": ["train", "train", "test"],
        "id": ["a/0", "a/1", "b/0"],
        "label": [0, 0, 1],
        "class_name": ["a", "a", "b"],
        "source": ["a/0", "a/1", "b/0"],
    }
)


def layer_tables(position: int, name: str) -> dict[str, pd.DataFrame]:
    """Made-up rows of one layer, with columns left out and values that are undefined."""
    place = {"split": "train", "layer": name, "pooling": "flat"}
    usual = place | {"metric": "euclidean", "ties": "first", "sampling": "full", "num_queries": 2, "repeat": 0}
    curve = place | {"metric": "euclidean", "measure": "separation", "kind": "observed"}
    near = place | {"rank": 1, "nearest_split": "train"}
    value, other = position / 8, {"early": "late", "late": "early"}.get(name, name)
    return {
        "layers": pd.DataFrame([{"position": position, "layer": name, "output_shape": [4, 4, 2], "num_features": 32}]),
        "measurements": pd.DataFrame(
            [
                usual | {"measure": "separation", "order": 1, "value": value, "chance": 0.5, "excess": 2 * value - 1},
                usual | {"measure": "knn", "order": 5, "value": value, "chance": np.nan, "excess": np.nan},
            ]
        ),
        "classes": pd.DataFrame(
            [place | {"measure": measure, "label": 0, "num_queries": 2} for measure in ("separation", "balanced")]
        ),
        "neighbors": pd.DataFrame(
            [
                near | {"sample": 0, "nearest": 1, "distance": 0.25, "same_label": True},
                near | {"sample": 1, "nearest": 0, "distance": 0.5, "same_label": True},
            ]
        ),
        "projection": pd.DataFrame([{"split": "train", "layer": name, "sample": i, "x": i, "y": 0.5} for i in (0, 1)]),
        "curves": pd.DataFrame([curve | {"size": size, "value": value} for size in (50, 100)]),
        "related_measures": pd.DataFrame(
            [place | {"measure": measure, "value": value} for measure in ("silhouette", "hubness")]
        ),
        "alignment": pd.DataFrame(
            [{"split": split, "layer": name, "other_layer": other, "value": value} for split in ("train", "test")]
        ),
    }


def write_some(folder: Path, layers: dict[int, str], *, complete: bool) -> Path:
    with study_lock(folder):
        info = begin(folder, INFO, SAMPLES)
        for position, name in layers.items():
            write_layer(folder, position, layer_tables(position, name))
        end(folder, info, complete=complete)
    return folder


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return write_some(tmp_path / "partial", {3: "late", 1: "early"}, complete=False)


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    return write_some(tmp_path / "complete", {3: "late", 1: "early"}, complete=True)


def test_a_complete_study_is_merged_and_a_partial_one_lies_in_parts(partial: Path, complete: Path):
    assert sorted(path.name for path in partial.iterdir()) == [".lock", "parts", "samples.parquet", "study.json"]
    tables = {f"{name}.parquet" for name in SCHEMAS}
    assert {path.name for path in complete.iterdir()} == tables | {".lock", "study.json"}
    assert (load_study(partial).state, load_study(complete).state) == ("partial", "complete")


@pytest.mark.parametrize("name", SCHEMAS)
def test_parts_and_merged_tables_read_alike(partial: Path, complete: Path, name: str):
    merged = load_study(complete).table(name)
    pd.testing.assert_frame_equal(load_study(partial).table(name), merged)
    assert merged.columns.tolist() == SCHEMAS[name].names
    assert len(merged) == (3 if name == "samples" else 2 if name == "layers" else 4)


def test_what_was_written_is_read(complete: Path):
    study = load_study(complete)
    assert study.layers["layer"].tolist() == ["early", "late"]  # in network order, whatever came first
    assert study.layers["output_shape"].iloc[0].tolist() == [4, 4, 2]
    assert study.measurements["value"].tolist() == [1 / 8, 1 / 8, 3 / 8, 3 / 8]
    assert study.measurements["layer"].astype(str).tolist() == ["early", "early", "late", "late"]
    assert study.neighbors["same_label"].tolist() == [True] * 4
    assert study.samples["id"].tolist() == ["a/0", "a/1", "b/0"]
    assert study.classes["measure"].tolist() == ["separation", "balanced"] * 2


def test_layers_come_in_network_order_whoever_wrote_them(complete: Path):
    table = pq.read_table(complete / "layers.parquet")
    pq.write_table(table.take([1, 0]), complete / "layers.parquet")
    assert load_study(complete).layers["position"].tolist() == [1, 3]


def test_a_study_without_its_table_of_layers(complete: Path):
    (complete / "layers.parquet").unlink()
    with pytest.raises(core.StudyError, match=r"names layers, of which the folder holds no table, layers\.parquet"):
        load_study(complete)


def test_what_was_not_given_or_is_undefined_is_null(complete: Path):
    study = load_study(complete)
    for column in ("low", "high", "target", "z", "p_value", "q_value", "num_references"):
        assert study.measurements[column].isna().all(), column
    assert study.measurements["chance"].isna().tolist() == [False, True, False, True]
    assert study.layers["parameters"].isna().all()


def test_types_are_those_of_the_format(complete: Path):
    neighbors = load_study(complete).neighbors
    assert [str(neighbors[name].dtype) for name in ("sample", "rank", "distance", "same_label")] == [
        "int32",
        "int32",
        "float32",
        "bool",
    ]
    assert isinstance(neighbors["layer"].dtype, pd.CategoricalDtype)


def test_some_columns_only(partial: Path):
    assert load_study(partial).table("neighbors", ["rank", "layer"]).columns.tolist() == ["rank", "layer"]


def test_a_study_without_layers_has_empty_tables(tmp_path: Path):
    study = load_study(write_some(tmp_path / "empty", {}, complete=False))
    assert len(study.layers) == len(study.neighbors) == 0
    assert study.measurements.columns.tolist() == SCHEMAS["measurements"].names
    assert len(study.samples) == 3


def test_finished_layers(partial: Path, complete: Path):
    assert finished_layers(partial) == finished_layers(complete) == {"early", "late"}


# States


def test_running_is_believed_only_while_a_writer_lives(tmp_path: Path):
    with study_lock(tmp_path):
        begin(tmp_path, INFO, SAMPLES)
        assert load_study(tmp_path).state == "running"
        assert is_being_written(tmp_path)
    assert json.loads((tmp_path / "study.json").read_text())["state"] == "running"  # as a killed run leaves it
    assert load_study(tmp_path).state == "partial"
    assert not is_being_written(tmp_path)


def test_readers_do_not_hinder_each_other(partial: Path):
    with (partial / ".lock").open("rb") as handle:
        lock_file(handle.fileno(), shared=True)
        assert not is_being_written(partial)


# What is no study


@pytest.mark.parametrize(("name", "what"), [("none", "no such folder"), (".", "a folder without"), ("file", "a file")])
def test_a_path_that_is_no_study(tmp_path: Path, name: str, what: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(core.StudyError, match=rf"must be a study folder with a study\.json; got {what}"):
        core.load_study(tmp_path / name)


@pytest.mark.parametrize("text", ["{", "\x00", '{"format": 1, "state"'])
def test_a_broken_study_json(complete: Path, text: str):
    (complete / "study.json").write_text(text)
    with pytest.raises(core.StudyError, match=r"study\.json in .*complete must be JSON; got .*Delete the folder"):
        core.load_study(complete)


def test_a_study_json_that_is_no_object(complete: Path):
    (complete / "study.json").write_text("[1]")
    with pytest.raises(core.StudyError, match="must be a JSON object; got list"):
        core.load_study(complete)


@pytest.mark.parametrize(
    "info", [{"format": FORMAT + 1, "state": "complete"}, {"state": "complete"}, {"format": FORMAT}]
)
def test_another_format(complete: Path, info: dict):
    (complete / "study.json").write_text(json.dumps(info))
    with pytest.raises(core.StudyError, match=rf"must have format {FORMAT} and a state; got format .*Update"):
        core.load_study(complete)


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing like it"])
def test_a_broken_table(complete: Path, partial: Path, content: bytes):
    (complete / "neighbors.parquet").write_bytes(content)
    with pytest.raises(core.StudyError, match=r"neighbors\.parquet in .*complete cannot be read: .* Delete the folder"):
        core.load_study(complete)
    (partial / "parts" / "00003" / "layers.parquet").write_bytes(content)
    with pytest.raises(core.StudyError, match=r"layers\.parquet in .*00003 cannot be read"):
        finished_layers(partial)


def test_a_table_that_lacks_columns(complete: Path):
    pd.DataFrame({"sample": [0]}).to_parquet(complete / "samples.parquet")
    with pytest.raises(core.StudyError, match="it lacks the columns class_name, id, label, source, split"):
        core.load_study(complete)


def test_only_the_rows_asked_for_are_read(partial: Path, complete: Path):
    for folder in (partial, complete):
        late = [("layer", "==", "late"), ("rank", "==", 1)]
        table = load_study(folder).table("neighbors", ["layer", "sample"], late)
        assert table["layer"].astype(str).tolist() == ["late", "late"]
        assert table["sample"].tolist() == [0, 1]
        assert load_study(folder).table("neighbors", filters=[("layer", "==", "other")]).empty
