"""overwrite: a new output takes the place of an earlier one, all or nothing, and of nothing else."""

import json
import os

import numpy as np
import pytest

import core
from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import rank_networks
from core.cli import main
from core.study.store.replacing import replaced
from core.study.store.writing import study_lock

LABELS = np.repeat([0, 1], 6)
FEATURES = np.random.default_rng(0).normal(size=(12, 3)) + 5 * LABELS[:, None]
PIXELS = core.StudyOptions("digits", model="pixels", per_class=4, probe=False, projection="none", neighbors=2)


def from_features(out, layer="a", **options):
    return core.study_from_features({layer: FEATURES}, LABELS, out=out, **options)


def add_layer_and_raise(out, error):
    with core.FeatureStudyWriter(out, LABELS, overwrite=True) as writer:
        writer.add_layer("b", FEATURES)
        raise error


def layers_in(out):
    return core.load_study(out).layers["layer"].tolist()


def test_a_cell_runs_again(tmp_path):
    out = tmp_path / "study"
    from_features(out)
    with pytest.raises(core.StudyError, match="overwrite=True"):
        from_features(out)
    assert from_features(out, "b", overwrite=True).layers["layer"].tolist() == ["b"]
    assert from_features(out, "c", overwrite=True).layers["layer"].tolist() == ["c"]
    assert os.listdir(tmp_path) == ["study"]


def test_the_first_time_overwrite_changes_nothing(tmp_path):
    from_features(tmp_path / "study", overwrite=True)
    assert layers_in(tmp_path / "study") == ["a"]
    assert os.listdir(tmp_path) == ["study"]


def test_other_options_replace_a_study(tmp_path):
    out = tmp_path / "study"
    core.run_study(PIXELS, out)
    other = core.StudyOptions("digits", model="pixels", per_class=5, probe=False, projection="none", neighbors=2)
    with pytest.raises(core.StudyError, match="differs in per_class"):
        core.run_study(other, out)
    assert len(core.run_study(other, out, overwrite=True).samples) == 100
    assert len(core.load_study(out).samples) == 100


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_run_that_fails_leaves_the_earlier_study(tmp_path, error):
    out = tmp_path / "study"
    from_features(out)
    before = (out / "study.json").read_bytes()

    def stop(progress):
        if "neighbors" in progress.stage:
            raise error

    with pytest.raises(error):
        core.run_study(PIXELS, out, overwrite=True, progress=stop)
    with pytest.raises(error):
        add_layer_and_raise(out, error)
    assert (out / "study.json").read_bytes() == before
    assert layers_in(out) == ["a"]
    assert os.listdir(tmp_path) == ["study"]


def test_bad_input_does_not_touch_the_earlier_study(tmp_path):
    from_features(tmp_path / "study")
    with pytest.raises(ValueError, match="layers must match"):
        core.run_study(core.StudyOptions("digits", layers="nope"), tmp_path / "study", overwrite=True)
    assert layers_in(tmp_path / "study") == ["a"]


@pytest.mark.parametrize("killed", ["before", "while writing", "after"])
def test_after_a_killed_run_the_complete_one_of_the_two_is_kept(tmp_path, killed):
    """As a run leaves it whose process ends at once: the folder renamed, the new one partial or complete."""
    out, aside = tmp_path / "study", tmp_path / ".study.replaced"
    from_features(aside if killed != "before" else out, "earlier")
    if killed != "before":
        from_features(out, "newer")
    if killed == "while writing":
        info = json.loads((out / "study.json").read_text())
        (out / "study.json").write_text(json.dumps(info | {"state": "running"}))
    with pytest.raises(RuntimeError), replaced(out, "study.json"):
        raise RuntimeError
    assert layers_in(out) == ["newer" if killed == "after" else "earlier"]
    assert os.listdir(tmp_path) == ["study"]


@pytest.mark.parametrize("name", ["notes.txt", "photographs/dog.jpg", "study.json.bak"])
def test_a_folder_with_anything_else_is_refused(tmp_path, name):
    out = tmp_path / "study"
    from_features(out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(core.StudyError, match=f"holds {name.partition('/')[0]}, too"):
        from_features(out, "b", overwrite=True)
    assert (out / name).read_text() == "mine"
    assert layers_in(out) == ["a"]


def test_a_folder_without_a_study_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(core.StudyError, match="must be empty or hold a study"):
        from_features(tmp_path, overwrite=True)
    (tmp_path / "mine.txt").rename(tmp_path / "study.json")
    with pytest.raises(core.StudyError, match="overwrite must replace only a folder"):
        from_features(tmp_path, overwrite=True)
    assert (tmp_path / "study.json").read_text() == "mine"


def test_a_link_and_a_study_that_is_being_written_are_refused(tmp_path):
    from_features(tmp_path / "study")
    (tmp_path / "link").symlink_to(tmp_path / "study")
    with pytest.raises(core.StudyError, match="no link"):
        from_features(tmp_path / "link", overwrite=True)
    with study_lock(tmp_path / "study"), pytest.raises(core.StudyError, match="being written by another run"):
        from_features(tmp_path / "study", overwrite=True)
    assert layers_in(tmp_path / "study") == ["a"]


def test_a_folder_of_another_kind_is_refused(tmp_path):
    from_features(tmp_path / "study")
    options = RankOptions("digits", ("pixels", "efficientnet-lite0"), per_class=4, probe=False)
    with pytest.raises(core.StudyError, match="must be empty or hold a ranking"):
        rank_networks(options, tmp_path / "study", overwrite=True)
    assert layers_in(tmp_path / "study") == ["a"]


def test_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    from_features(".")
    from_features(tmp_path / "study", "b", overwrite=True)
    assert layers_in(tmp_path / "study") == ["b"]


def test_the_commands_take_it(tmp_path, capsys):
    np.save(tmp_path / "features.npy", FEATURES)
    np.save(tmp_path / "labels.npy", LABELS)
    out = str(tmp_path / "study")
    measure = ["measure", str(tmp_path / "features.npy"), "--labels", str(tmp_path / "labels.npy")]
    study = ["study", "digits", "--model", "pixels", "--per-class", "4", "--no-probe"]
    assert main([*measure, "--out", out]) == 0
    assert main([*study, "--out", out]) == 1
    assert main([*study, "--out", out, "--overwrite"]) == 0
    assert layers_in(out) == ["input"]
    assert main([*measure, "--out", out, "--overwrite"]) == 0
    assert layers_in(out) == ["features"]
    assert main([*measure, "--overwrite"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_ranking_is_replaced(tmp_path):
    files = tmp_path / "features.npz"
    np.savez(files, features=FEATURES)
    np.save(tmp_path / "labels.npy", LABELS)
    command = ["rank", "--out", str(tmp_path / "ranking"), "--labels", str(tmp_path / "labels.npy"), "--no-probe"]
    assert main([*command, "--features", f"a={files}", "--features", f"b={files}"]) == 0
    other = [*command, "--features", f"a={files}", "--features", f"c={files}"]
    assert main(other) == 1
    (tmp_path / "ranking" / "a" / "mine.txt").write_text("mine")
    assert main([*other, "--overwrite"]) == 1
    (tmp_path / "ranking" / "a" / "mine.txt").unlink()
    assert main([*other, "--overwrite"]) == 0
    assert sorted(path.name for path in (tmp_path / "ranking").iterdir() if path.is_dir()) == ["a", "c"]
