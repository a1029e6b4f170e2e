"""Writing a study: whole steps, one writer, and never two studies in one folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import core
from core.study.store import writing
from core.study.store.opening import SCHEMAS, StudyError, finished_layers, load_study
from core.study.store.writing import begin, differences, end, merge_parts, study_lock, write_layer

SAMPLES = pd.DataFrame({"sample": [0, 1], "split": "train", "id": ["0", "1"], "label": [0, 1]})


def info(**asked: Any) -> dict[str, Any]:
    return {
        "asked": {"data": "pets", "model": "tiny", "per_class": None} | asked,
        "used": {"data": {"fingerprint": "f1", "num_samples": 2}, "model": {"weights_sha256": "w1"}},
    }


def write_one(folder: Path, position: int, value: float = 0.5) -> None:
    name = f"layer{position}"
    row = {"split": "train", "layer": name, "pooling": "flat", "measure": "separation", "value": value}
    usual = {"metric": "euclidean", "ties": "first", "sampling": "full", "num_queries": 2, "repeat": 0}
    layer = {"position": position, "layer": name, "output_shape": [2]}
    write_layer(folder, position, {"layers": pd.DataFrame([layer]), "measurements": pd.DataFrame([row | usual])})


# Layers appear whole


def test_an_interrupted_write_leaves_no_half_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    begin(tmp_path, info(), SAMPLES)
    write_one(tmp_path, 1)
    write_table = pq.write_table

    def stop_at_the_second_table(table: Any, path: Path, **options: Any) -> None:
        if path.name == "measurements.parquet":
            raise KeyboardInterrupt
        write_table(table, path, **options)

    monkeypatch.setattr(pq, "write_table", stop_at_the_second_table)
    with pytest.raises(KeyboardInterrupt):
        write_one(tmp_path, 2)
    monkeypatch.undo()
    assert (tmp_path / "parts" / "00002.tmp" / "layers.parquet").exists()
    assert finished_layers(tmp_path) == {"layer1"}
    assert load_study(tmp_path).measurements["layer"].astype(str).tolist() == ["layer1"]
    begin(tmp_path, info(), SAMPLES)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["00001"]


def test_a_half_layer_is_no_obstacle_to_writing_it_again(tmp_path: Path):
    begin(tmp_path, info(), SAMPLES)
    (tmp_path / "parts" / "00001.tmp").mkdir(parents=True)
    (tmp_path / "parts" / "00001.tmp" / "classes.parquet").write_bytes(b"half")
    write_one(tmp_path, 1)
    assert sorted(path.name for path in (tmp_path / "parts" / "00001").iterdir()) == [
        "layers.parquet",
        "measurements.parquet",
    ]


def test_a_column_that_the_format_does_not_know_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="table layers must have the columns of its schema; got also colour"):
        write_layer(tmp_path, 0, {"layers": pd.DataFrame([{"position": 0, "colour": "red"}])})
    assert finished_layers(tmp_path) == set()


# Merging


def test_merged_tables_have_the_schema_and_network_order(tmp_path: Path):
    for position in (10, 2, 100000 - 1):
        write_one(tmp_path, position)
    merge_parts(tmp_path)
    for name in ("layers", "measurements"):
        assert pq.read_schema(tmp_path / f"{name}.parquet").equals(SCHEMAS[name])
    assert pq.read_table(tmp_path / "layers.parquet")["position"].to_pylist() == [2, 10, 99999]
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("stop_at", ["layers", "measurements", "rmtree"])
def test_a_merge_that_is_interrupted_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: str):
    started = begin(tmp_path, info(), SAMPLES)
    for position in range(4):
        write_one(tmp_path, position, value=position / 4)
    replace, rmtree = writing.replace_file, shutil.rmtree

    def stop_in_replace(path: Path, write: Any) -> None:
        if path.name == f"{stop_at}.parquet":
            raise KeyboardInterrupt
        replace(path, write)

    def stop_in_the_middle_of_the_parts(folder: Path, ignore_errors: bool = False) -> None:
        for part in sorted(folder.iterdir())[:2]:
            rmtree(part)
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "replace_file", stop_in_replace)
    if stop_at == "rmtree":
        monkeypatch.setattr(writing.shutil, "rmtree", stop_in_the_middle_of_the_parts)
    with pytest.raises(KeyboardInterrupt):
        end(tmp_path, started, complete=True)
    monkeypatch.undo()
    assert load_study(tmp_path).state == "partial"
    for _ in range(2):  # what readers see now, and after the same study has gone on and ended
        assert load_study(tmp_path).layers["position"].tolist() == [0, 1, 2, 3]
        assert load_study(tmp_path).measurements["value"].tolist() == [0, 0.25, 0.5, 0.75]
        end(tmp_path, begin(tmp_path, info(), SAMPLES), complete=True)
    assert load_study(tmp_path).state == "complete"
    assert not list(tmp_path.glob("*parts*"))


# One writer

HOLDER = """
import sys, time
from pathlib import Path
from core.study.store.writing import study_lock
with study_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_dies(tmp_path: Path):
    root = Path(writing.__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, cwd=root) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"locked\n"
            with pytest.raises(StudyError, match="is being written by another run"), study_lock(tmp_path):
                pass
        finally:
            holder.kill()
    with study_lock(tmp_path):
        pass


def test_the_lock_holds_within_one_process_too(tmp_path: Path):
    with study_lock(tmp_path), pytest.raises(StudyError, match="another run"), study_lock(tmp_path):
        pass
    with study_lock(tmp_path):
        pass


# Going on


def test_the_same_study_goes_on(tmp_path: Path):
    first = begin(tmp_path, info(), SAMPLES)
    write_one(tmp_path, 0)
    end(tmp_path, first, complete=False)
    second = begin(tmp_path, info(), SAMPLES)
    assert second["state"] == "running"
    assert second["created"] == first["created"]
    assert finished_layers(tmp_path) == {"layer0"}


def test_a_complete_study_stays_as_it_is(tmp_path: Path):
    first = begin(tmp_path, info(), SAMPLES)
    write_one(tmp_path, 0)
    end(tmp_path, first, complete=True)
    before = (tmp_path / "study.json").read_bytes()
    assert begin(tmp_path, info() | {"command": "another"}, SAMPLES)["state"] == "complete"
    assert (tmp_path / "study.json").read_bytes() == before


def test_a_start_that_was_cut_short_is_no_obstacle(tmp_path: Path):
    for name in (".lock", "samples.parquet", ".study.json.tmp"):
        (tmp_path / name).write_bytes(b"")
    begin(tmp_path, info(), SAMPLES)
    assert load_study(tmp_path).samples["id"].tolist() == ["0", "1"]


def test_other_options_are_named(tmp_path: Path):
    begin(tmp_path, info(), SAMPLES)
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(StudyError, match=r"differs in model: 'tiny' → 'large'; per_class: None → 5\. ") as error:
        begin(tmp_path, info(per_class=5, model="large"), SAMPLES)
    assert "choose another folder" in str(error.value)
    assert (tmp_path / "study.json").read_bytes() == before


def test_other_data_and_other_weights_are_named(tmp_path: Path):
    begin(tmp_path, info(), SAMPLES)
    other = info()
    other["used"] = {"data": {"fingerprint": "f2", "num_samples": 2}, "model": {"weights_sha256": "w2"}}
    with pytest.raises(StudyError, match=r"data\.fingerprint: 'f1' → 'f2'; model\.weights_sha256: 'w1' → 'w2'"):
        begin(tmp_path, other, SAMPLES)


def test_the_same_data_under_another_name_is_the_same(tmp_path: Path):
    begin(tmp_path, info(data="pets"), SAMPLES)
    assert begin(tmp_path, info(data="../here/pets"), SAMPLES)["state"] == "running"


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StudyError, match=r"must be empty or hold a study; it has thesis\.tex and no study\.json"):
        begin(tmp_path, info(), SAMPLES)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "message"), [('{"format": 99}', "format 99, not 2"), ("[]", "JSON object"), ("", "be JSON")]
)
def test_a_study_json_that_cannot_be_gone_on_with(tmp_path: Path, text: str, message: str):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(StudyError, match=message):
        begin(tmp_path, info(), SAMPLES)


def test_differences_of_nested_settings():
    there, here = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": None, "f": 5}
    assert differences(there, here) == ["a.c: 2 → 4", "d: 3 → None", "f: None → 5"]


def test_study_json_keeps_names_as_they_are(tmp_path: Path):
    writing.write_info(tmp_path, {"asked": {"data": "Füchse"}})
    assert "Füchse" in (tmp_path / "study.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "study.json").read_bytes()) == {"asked": {"data": "Füchse"}}


def test_a_folder_with_a_colon_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = core.study_from_features({"line": [[0.0], [1.0], [8.0], [9.0]]}, ["a", "a", "b", "b"], out="s:x")
    assert len(study.table("neighbors", filters=[("rank", "==", 1)])) == 4


def test_the_finished_layers_are_listed_once_however_many_are_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    begin(tmp_path, info(), SAMPLES)
    write_one(tmp_path, 0)
    calls: list[Path] = []

    def counted(folder: Path) -> set[str]:
        calls.append(folder)
        return finished_layers(folder)

    monkeypatch.setattr(writing, "finished_layers", counted)
    there = sorted(finished_layers(tmp_path))
    writing.check_still_there(tmp_path, there)
    assert calls == [tmp_path]
    with pytest.raises(StudyError, match="it has lost the rows of 'second', the rows of 'third'"):
        writing.check_still_there(tmp_path, [*there, "second", "third"])
    assert calls == [tmp_path, tmp_path]
