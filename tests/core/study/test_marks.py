"""Marks of samples: kept by id beside the study, changed by several writers, never lost silently."""

import json
import multiprocessing
import threading

import numpy as np
import pytest

import core
from core.cli import main
from core.study.store.marks import MARKS_FILE, Mark, MarksError, change_mark, marks_table, read_marks

LABELS = ["ant", "ant", "bee", "bee"]
IDS = ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
FEATURES = np.array([[0.0], [1], [8], [9]])
ERROR, FINE = Mark("label error", class_name="ant", num_samples=4), Mark("fine", class_name="bee", num_samples=4)


@pytest.fixture
def folder(tmp_path):
    core.study_from_features({"late": FEATURES}, LABELS, out=tmp_path / "study", ids=IDS)
    return tmp_path / "study"


def measure_again(folder, features=FEATURES, labels=LABELS, ids=IDS):
    return core.study_from_features({"late": features}, labels, out=folder, ids=ids, overwrite=True)


def marked(folder):
    return core.marks(core.load_study(folder))[["id", "class_name", "mark"]].to_numpy().tolist()


def test_a_mark_is_set_changed_and_removed(folder):
    assert read_marks(folder) == {}
    change_mark(folder, "b/1.png", Mark("fine", note="  two\nlines "))
    change_mark(folder, "a/0.png", ERROR)
    table = core.marks(core.load_study(folder))
    assert table[["sample", "id", "class_name", "mark", "note"]].to_numpy().tolist() == [
        [0, "a/0.png", "ant", "label error", ""],
        [3, "b/1.png", "bee", "fine", "two lines"],
    ]
    change_mark(folder, "a/0.png", Mark())
    assert list(read_marks(folder)) == ["b/1.png"]
    with pytest.raises(ValueError, match="mark must be one of label error, duplicate, fine, or empty; got 'wrong'"):
        Mark("wrong")


def _mark_many(folder, start):
    for number in range(start, start + 25):
        change_mark(folder, f"sample {number}", FINE)


def test_writers_at_the_same_time_lose_no_mark(folder):
    """Two threads of a server and one other process, 25 marks each."""
    process = multiprocessing.get_context("spawn").Process(target=_mark_many, args=(folder, 50))
    writers = [process, *(threading.Thread(target=_mark_many, args=(folder, start)) for start in (0, 25))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(read_marks(folder)) == 75


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", ""),
        ("{", ""),
        ("[]", "must hold a JSON object with the fields format and marks"),
        ('{"format": 2, "marks": {}}', "its format must be 1; got 2"),
        ('{"marks": {}}', "its format must be 1; got None"),
        ('{"format": 1}', "must hold a JSON object with the fields format and marks"),
        ('{"format": 1, "marks": []}', "must hold a JSON object with the fields format and marks"),
        ('{"format": 1, "marks": {"a": {"mark": "wrong"}}}', ""),
        ('{"format": 1, "marks": {"a": {"mark": "fine", "note": 3}}}', "note must be str; got 3"),
        ('{"format": 1, "marks": {"a": "fine"}}', "a mark must be an object; got 'fine'"),
    ],
)
def test_a_damaged_file_is_told_and_stays_as_it_is(folder, content, reason, capsys):
    (folder / MARKS_FILE).write_text(content)
    for attempt in (lambda: read_marks(folder), lambda: change_mark(folder, "a", FINE), lambda: measure_again(folder)):
        with pytest.raises(MarksError, match=r"marks\.json in .* must hold marks of samples; it cannot be read: .*"):
            attempt()
    assert (folder / MARKS_FILE).read_text() == content
    assert main(["marks", str(folder)]) == 1
    message = capsys.readouterr().err
    assert reason in message
    assert "It is left as it is. Repair it, or move it elsewhere" in message


def test_a_folder_that_cannot_be_written_is_told(folder):
    (folder / ".marks.lock").mkdir()  # as a folder without write permission, also for root
    with pytest.raises(MarksError, match="must be writable; got Is a directory"):
        change_mark(folder, "a", FINE)


def test_marks_stay_when_a_study_is_measured_again(folder):
    change_mark(folder, "a/1.png", ERROR)
    change_mark(folder, "b/1.png", FINE)
    measure_again(folder, FEATURES[[2, 1, 0]], ["bee", "ant", "ant"], ["b/0.png", "a/1.png", "c/7.png"])
    assert marked(folder) == [["a/1.png", "ant", "label error"], ["b/1.png", "bee", "fine"]]
    assert core.marks(core.load_study(folder))["sample"].isna().tolist() == [False, True]
    assert core.marks(core.load_study(folder))["sample"].iloc[0] == 1


def test_a_run_that_fails_keeps_the_marks_of_both(folder):
    change_mark(folder, "a/1.png", ERROR)

    def fail():
        with core.FeatureStudyWriter(folder, LABELS, ids=IDS, overwrite=True) as writer:
            writer.add_layer("late", FEATURES)
            change_mark(folder, "b/1.png", FINE)  # meanwhile, in the explorer
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(read_marks(folder)) == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize(("labels", "attached"), [(LABELS, True), (["bee", "ant", "bee", "ant"], False)])
def test_a_number_is_the_same_sample_only_with_the_same_class(tmp_path, labels, attached):
    """Without ids, samples are numbered: the same number may be another sample's in other data."""
    folder = tmp_path / "study"
    core.study_from_features({"late": FEATURES}, LABELS, out=folder)
    change_mark(folder, "0", ERROR)
    core.study_from_features({"late": FEATURES}, labels, out=folder, overwrite=True)
    assert marks_table(core.load_study(folder))["sample"].notna().tolist() == [attached]


@pytest.mark.parametrize("name", ["timing.json", "blocks.json"])
def test_what_cut_and_blocks_write_beside_a_study_is_replaced_with_it(folder, name):
    (folder / name).write_text("{}")
    measure_again(folder)
    assert not (folder / name).exists()


def test_the_command_lists_files_with_marks_and_suggested_classes(tmp_path, capsys):
    """Three of four ants are near each other; the fourth lies among the bees, at a file of its own."""
    images = tmp_path / "images"
    sources = [images / f"{number}.png" for number in range(8)]
    images.mkdir()
    for source in sources:
        source.touch()
    features = np.array([[0.0], [1], [2], [20.5], [20], [21], [22], [23]])
    folder = tmp_path / "study"
    labels = ["ant"] * 4 + ["bee"] * 4
    core.study_from_features({"late": features}, labels, out=folder, sources=sources)
    name = core.load_study(folder).samples["id"].astype(str)[3]
    change_mark(folder, name, Mark("label error", "a bee", "ant", 8))
    assert main(["marks", str(folder), "--mark", "label-error", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["mark"], row["class_name"], row["suggested"], row["note"]) == ("label error", "ant", "bee", "a bee")
    assert row["file"] == str(sources[3])
    assert main(["marks", str(folder), "--mark", "fine"]) == 0
    assert "No sample is marked as fine." in capsys.readouterr().out
    assert main(["marks", str(folder), "--mark", "wrong"]) == 2
    assert "mark must be one of label error, duplicate, fine; got 'wrong'" in capsys.readouterr().err
