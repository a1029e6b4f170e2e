"""What a study folder may hold: each thing that cannot be right is told with its file and column."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import core
from core.study.store import opening
from core.study.store.opening import load_study
from core.study.store.tables.schemas import TABLES
from core.study.store.tables.validation import key_faults, neighbor_faults
from core.study.store.writing import begin, end, study_lock, write_layer
from tests.damage import Damage, damaged_copy, study_damages, write_small_study

EVERY = 12  # of the corpus; `python -m tests.benchmarks.damage` tries all of it
NOTICED = [damage for damage in study_damages() if damage.noticed]
OTHERS = [damage for damage in study_damages() if not damage.noticed]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_study(tmp_path_factory.mktemp("small") / "study")


@pytest.fixture
def study(small: Path, tmp_path: Path) -> Path:
    return damaged_copy(small, Damage("none", lambda folder: None), tmp_path / "copy")


def change(folder: Path, table: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / f"{table}.parquet"
    edit(pq.read_table(path).to_pandas()).to_parquet(path, index=False)


def put(column: str, value: object, row: int = 0) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object)
        values.iloc[row] = value
        return frame.assign(**{column: values.tolist()})

    return edit


def test_what_core_writes_is_in_order(small: Path):
    study = load_study(small)
    assert {name: len(study.table(name)) > 0 for name in TABLES} == dict.fromkeys(TABLES, True)


@pytest.mark.parametrize("damage", NOTICED[::EVERY], ids=lambda damage: damage.name)
def test_what_cannot_be_right_is_refused_in_one_sentence(small: Path, tmp_path: Path, damage: Damage):
    folder = damaged_copy(small, damage, tmp_path / "damaged")
    with pytest.raises(core.StudyError) as refused:
        load_study(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damage", OTHERS[::EVERY], ids=lambda damage: damage.name)
def test_other_changes_are_refused_or_read(small: Path, tmp_path: Path, damage: Damage):
    folder = damaged_copy(small, damage, tmp_path / "damaged")
    try:
        study = load_study(folder)
        for name in TABLES:
            study.table(name)
    except core.StudyError as error:
        assert str(folder) in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("table", "edit", "message"),
    [
        ("measurements", put("value", 1.5), "column 'value' must lie in 0 to 1; got 1.5 in row 0"),
        ("measurements", put("value", -0.1, 7), "column 'value' must lie in 0 to 1; got -0.1 in row 7"),
        ("measurements", put("excess", float("-inf")), "column 'excess' must be finite numbers; got -inf in row 0"),
        ("measurements", put("pooling", "max"), "column 'pooling' must be one of flat, mean; got 'max'"),
        ("measurements", put("layer", "conv9"), "column 'layer' must name layers of the table layers; got 'conv9'"),
        ("measurements", put("num_queries", 0), "column 'num_queries' must be at least 1; got 0"),
        ("layers", put("layer", "stem_conv", 1), "each row must be there once; got layer 'stem_conv' again in row 1"),
        ("layers", put("position", 0, 1), "each row must be there once; got position 0 again in row 1"),
        ("layers", put("output_shape", None), "column 'output_shape' must have no gaps; got one in row 0"),
        ("layers", put("output_shape", [2, -1]), "column 'output_shape' must be at least 0; got -1"),
        ("samples", put("sample", 48), "column 'sample' must number the samples from 0 to 47; got 48 in row 0"),
        ("samples", put("id", "a", 1), None),  # another name is as good as the one before
        ("samples", lambda frame: frame.assign(id="a"), "each row must be there once; got id 'a' again in row 1"),
        ("samples", lambda frame: frame.assign(split="val"), "column 'split' must be one of train, test; got 'val'"),
        ("neighbors", put("nearest", 48), "column 'nearest' must be a sample of the table samples, 0 to 47; got 48"),
        ("neighbors", put("nearest", -1), "column 'nearest' must be at least 0; got -1"),
        ("neighbors", put("nearest", 0), "column 'nearest' must be another sample; got sample 0 in row 0"),
        ("neighbors", put("nearest", 30), "column 'nearest_split' must be that of the nearest in the table samples"),
        ("neighbors", lambda frame: frame.iloc[1:], "column 'rank' must run from 1 to 5 for each sample"),
        ("neighbors", lambda frame: frame.drop(columns="rank"), "it lacks the columns rank"),
        ("projection", put("x", float("nan")), "column 'x' must have no gaps; got one in row 0"),
        (
            "neighbors",
            put("same_label", True),
            "column 'same_label' must be False, as the labels in the table samples are",
        ),
        ("classes", lambda frame: frame.assign(label="a"), "column 'label' must hold whole numbers; got"),
        (
            "classes",
            put("label", 40),
            "column 'label' must be one that train samples of the table samples have; got 40",
        ),
    ],
)
def test_by_hand(study: Path, table: str, edit: Callable, message: str | None):
    change(study, table, edit)
    if message is None:
        load_study(study)
        return
    with pytest.raises(core.StudyError) as refused:
        load_study(study)
    assert f"{table}.parquet in {study} cannot be used: " in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"state": "done"}, "'state' must be one of running, partial, complete; got 'done'"),
        ({"cautions": "Careful"}, "'cautions' must be a list; got 'Careful'"),
        ({"cautions": [1]}, "'cautions.*' must be a text; got 1"),
        ({"used": {"versions": ["keras"]}}, "'used.versions' must be an object; got"),
        ({"used": {"data": {"num_classes": True}}}, "'used.data.num_classes' must be a whole number or null; got True"),
        ({"used": {"data": {"num_classes": 10**400}}}, "'used.data.num_classes' must be a number of usual size"),
        ({"asked": {"sizes": [1.5]}}, "'asked.sizes.*' must be a whole number; got 1.5"),
    ],
)
def test_fields_of_study_json(study: Path, info: dict, message: str):
    there = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps(there | info))
    with pytest.raises(core.StudyError) as refused:
        load_study(study)
    assert f"study.json in {study} cannot be used: " in str(refused.value)
    assert message in str(refused.value)


def test_several_faults_are_told_together(study: Path):
    change(study, "measurements", lambda frame: put("low", 2.0)(put("value", 1.5)(frame)))
    with pytest.raises(
        core.StudyError, match=r"column 'value' must .* 1.5 in row 0; column 'low' must .* 2.0 in row 0"
    ):
        load_study(study)


def test_other_widths_of_the_same_kinds_are_read(study: Path):
    before = load_study(study)
    for name in TABLES:
        path = study / f"{name}.parquet"
        table = pq.read_table(path)
        plain = [column.cast(column.type.value_type) if _is_dictionary(column) else column for column in table.columns]
        wide = [column.cast(pa.int64()) if pa.types.is_int32(column.type) else column for column in plain]
        pq.write_table(pa.table(wide, names=table.column_names).append_column("mine", pa.nulls(len(table))), path)
    after = load_study(study)
    for name in TABLES:
        pd.testing.assert_frame_equal(before.table(name), after.table(name))


def _is_dictionary(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_dictionary(column.type))


def test_a_changed_byte_of_a_table_is_noticed(study: Path):
    path = study / "measurements.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(core.StudyError, match=r"measurements\.parquet in .* cannot be read: .*[Cc][Rr][Cc]"):
        load_study(study)


def test_texts_that_are_no_unicode_are_shown_with_escapes(study: Path):
    info = json.loads((study / "study.json").read_text()) | {"command": "python caf\udce9"}
    (study / "study.json").write_text(json.dumps(info))
    assert load_study(study).info["command"] == "python caf\\udce9"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["study.json", "samples.parquet", "neighbors.parquet"])
def test_a_named_pipe_is_refused_at_once(study: Path, name: str):
    (study / name).unlink()
    os.mkfifo(study / name)
    with pytest.raises(core.StudyError, match=r"must be a regular file; got a named pipe"):
        load_study(study)


# A large study is checked where it is read


def test_rows_of_a_large_table_are_checked_when_they_are_read(study: Path, monkeypatch: pytest.MonkeyPatch):
    change(study, "neighbors", put("nearest", 0))  # which the file's own ranges do not tell
    monkeypatch.setattr(opening, "MOST_ROWS", 1_000)
    opened = load_study(study)
    rows = [("layer", "==", "predictions"), ("split", "==", "test")]
    assert len(opened.table("neighbors", ["sample", "nearest"], rows)) > 0  # those are in order
    with pytest.raises(core.StudyError, match="column 'nearest' must be another sample; got sample 0"):
        _ = opened.neighbors


def test_ranges_of_a_large_table_are_known_without_reading_it(study: Path, monkeypatch: pytest.MonkeyPatch):
    change(study, "neighbors", put("rank", 0))
    monkeypatch.setattr(opening, "MOST_ROWS", 1_000)
    with pytest.raises(core.StudyError, match="column 'rank' must be at least 1; got 0"):
        load_study(study)


def test_what_was_checked_is_not_checked_again_until_it_changes(study: Path, monkeypatch: pytest.MonkeyPatch):
    load_study(study)
    reads = []
    monkeypatch.setattr(opening, "_values_of", lambda *args: reads.append(args))
    load_study(study)
    assert reads == []
    monkeypatch.undo()
    time.sleep(0.01)
    change(study, "samples", lambda frame: frame.assign(split="val"))
    with pytest.raises(core.StudyError, match="samples"):
        load_study(study)


def test_layers_that_come_while_a_study_is_open_are_left_out(tmp_path: Path):
    samples = pd.DataFrame({"sample": [0, 1], "split": "train", "id": ["a", "b"], "label": [0, 0]})
    near = pd.DataFrame({"sample": [0, 1], "nearest": [1, 0]})
    near = near.assign(split="train", nearest_split="train", pooling="flat", rank=1, distance=1.0, same_label=True)
    with study_lock(tmp_path / "study"):
        info = begin(tmp_path / "study", {"asked": {}, "used": {}}, samples)
        for position, name in enumerate(("first", "second")):
            if position == 1:
                opened = load_study(tmp_path / "study")
            layer = pd.DataFrame([{"position": position, "layer": name, "output_shape": [2]}])
            write_layer(tmp_path / "study", position, {"layers": layer, "neighbors": near.assign(layer=name)})
        end(tmp_path / "study", info, complete=True)
    assert opened.layers["layer"].tolist() == ["first"]
    assert opened.neighbors["layer"].astype(str).tolist() == ["first", "first"]


# The checks themselves, against a plain oracle


def test_rows_that_are_there_twice_are_found_whatever_the_order():
    rng = np.random.default_rng(0)
    table = TABLES["projection"]
    for _ in range(30):
        layers = rng.choice(["a", "b", "c"], 12)
        data = pa.table({"split": ["train"] * 12, "layer": layers, "sample": rng.integers(0, 6, 12)})
        repeated = pd.DataFrame({"layer": layers, "sample": data["sample"].to_numpy()}).duplicated()
        assert bool(key_faults(data, table)) == repeated.any()


def test_ranks_that_do_not_run_from_one_to_the_same_number_are_found():
    rng = np.random.default_rng(0)
    for _ in range(30):
        places = [(sample, rank) for sample in range(4) for rank in (1, 2)]
        chosen = [place for place in places if rng.random() < 0.9]
        sample, rank = zip(*chosen, strict=True)
        count = len(chosen)
        data = pa.table({"layer": ["a"] * count, "pooling": ["flat"] * count, "split": ["train"] * count})
        data = data.append_column("nearest_split", pa.array(["train"] * count))
        data = data.append_column("sample", pa.array(sample)).append_column("rank", pa.array(rank))
        most = max(rank)
        ranks = pd.DataFrame(chosen, columns=["sample", "rank"]).groupby("sample")["rank"].agg(set)
        assert (neighbor_faults(data) == []) == all(held == set(range(1, most + 1)) for held in ranks)
