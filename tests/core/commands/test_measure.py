"""python -m core measure: what it prints, the studies it writes, and its exit statuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import core
from core.cli import main
from core.study.measuring.related_measures import RELATED_MEASURES
from core.study.measuring.searches import KNN

DIGITS = load_digits()
X, Y = DIGITS.data[:120].astype(np.float32), DIGITS.target[:120]
TEST_X, TEST_Y = DIGITS.data[120:160].astype(np.float32), DIGITS.target[120:160]
TABLES = ("layers", "measurements", "classes", "samples", "neighbors")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits as every kind of file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("y.npy", Y)
    np.save("test_x.npy", TEST_X)
    Path("test_y.txt").write_text("\n".join(map(str, TEST_Y)))
    np.savez("x.npz", pixels=X, halved=X[:, ::2], labels=Y)
    for name, features, labels in (("x", X, Y), ("test_x", TEST_X, TEST_Y)):
        pd.DataFrame(features, columns=[f"p{i}" for i in range(64)]).assign(digit=labels).to_parquet(f"{name}.parquet")
    for name, part in (("train", X), ("test", TEST_X)):
        Path(name).mkdir()
        np.save(f"{name}/2-pixels.npy", part.reshape(-1, 8, 8))
        np.save(f"{name}/10-halved.npy", part[:, ::2])
        np.save(f"{name}/labels.npy", Y if name == "train" else TEST_Y)
    return tmp_path


def as_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict]:
    assert main(["measure", *command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_study_names_its_samples_by_their_ids(capsys: pytest.CaptureFixture[str]):
    for part in ("train", "test"):
        labels = np.arange(20) % 2
        np.savez(
            f"{part}.npz", x=np.eye(2)[labels], labels=labels, ids=np.array([f"{part}/{row}" for row in range(20)])
        )
    assert main(["measure", "train.npz", "--test", "test.npz", "--out", "named"]) == 0
    assert core.load_study("named").samples["id"].tolist()[::20] == ["train/0", "test/0"]
    assert main(["measure", "train.npz", "--test", "train.npz", "--out", "twice"]) == 2
    assert "ids must tell test samples from training samples; got 'train/0' in both" in capsys.readouterr().err
    assert main(["measure", "train.npz", "--test-ids", "x.txt"]) == 2
    assert "test-ids must go with --test; got 'x.txt' alone" in capsys.readouterr().err


def test_related_measures_come_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]):
    command = ["x.npy", "--labels", "y.npy"]
    plain, found = (as_json([*command, *more], capsys) for more in ([], ["--related-measures"]))
    assert [row["measure"] for row in found][len(plain) :] == list(RELATED_MEASURES)
    assert found[-1]["low"] is None
    assert main(["measure", "train", "--related-measures", "--out", "study"]) == 0
    study = core.load_study("study")
    assert study.related_measures["layer"].unique().tolist() == [
        "halved"
    ]  # pixels of shape (8, 8) are not averaged here
    assert study.info["asked"]["related_measures"]


@pytest.mark.parametrize(
    "command",
    [
        ["x.npy", "--labels", "y.npy", "--test", "test_x.npy", "--test-labels", "test_y.txt"],
        ["x.parquet", "--labels", "digit", "--test", "test_x.parquet"],
        ["x.parquet", "--labels", "digit", "--test", "test_x.parquet", "--test-labels", "digit"],
    ],
)
def test_values_are_those_of_the_functions_in_core(command: list[str], capsys: pytest.CaptureFixture[str]):
    rows = {(row["split"], row["measure"], row["order"]): row for row in as_json([*command, "--centers"], capsys)}
    expected = {
        ("train", "separation", 1): core.separation_index(X, Y),
        ("train", "balanced", 1): core.balanced_separation_index(X, Y),
        ("train", "high_order", 3): core.high_order_separation_index(X, Y, order=3),
        ("train", "soft", 5): core.soft_separation_index(X, Y, order=5),
        ("train", "anti", 2): core.anti_separation_index(X, Y, order=2),
        ("train", "center", 1): core.center_separation_index(X, Y),
        ("train", "center_in_sample", 1): core.center_separation_index(X, Y, leave_one_out=False),
        ("test", "separation", 1): core.separation_index(TEST_X, TEST_Y),
        ("test", "cross", 1): core.cross_separation_index(X, Y, TEST_X, TEST_Y),
    }
    for key, measure in expected.items():
        row = rows[key]
        assert row["value"] == pytest.approx(measure.value, abs=1e-12), key
        if key[1].startswith("center"):
            assert row["p_value"] is None  # its chance comes from too few permutations to test it
        else:
            assert [row["low"], row["high"]] == pytest.approx(measure.interval(), abs=1e-9), key
            assert row["chance"] == pytest.approx(measure.chance, abs=1e-12), key
            assert row["p_value"] == pytest.approx(measure.p_value(), abs=1e-12), key
    by_class = expected["train", "separation", 1].by_class
    assert rows["train", "separation", 1]["by_class"] == {str(label): share for label, share in by_class.items()}
    assert set(rows["test", "cross", 1]["by_class"]) == {str(label) for label in np.unique(TEST_Y)}
    assert "by_class" not in rows["train", "balanced", 1]
    assert {order for _, measure, order in rows if measure == "knn"} == set(KNN)


@pytest.mark.parametrize("more", [[], ["--centers", "--related-measures", "--metric", "cosine"]])
def test_a_study_of_the_same_files_holds_the_same_values(more: list[str], capsys: pytest.CaptureFixture[str]):
    rows = pd.DataFrame(as_json(["train", "--test", "test", *more], capsys))
    assert main(["measure", "train", "--test", "test", *more, "--out", "study"]) == 0
    study = core.load_study("study")
    key = ["layer", "split", "measure", "order"]
    expected = pd.concat([study.measurements, study.related_measures]) if more else study.measurements
    names = ["value", "low", "high", "chance", "excess", "num_queries", "num_tied"]
    one, other = (
        table.astype(dict.fromkeys(key, str)).sort_values(key, ignore_index=True)[[*key, *names]]
        for table in (part.assign(order=part["order"].astype("Int64")) for part in (rows, expected))
    )
    pd.testing.assert_frame_equal(one, other, check_dtype=False, atol=1e-12, rtol=0)


def test_the_table(capsys: pytest.CaptureFixture[str]):
    assert main(["measure", "x.npy", "--labels", "y.npy", "--by-class"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "120 samples of 10 classes"
    assert lines[2] == "x"
    assert lines[3].split() == ["measure", "order", "value", "low", "high", "chance", "excess", "z", "p_value"]
    separation = core.separation_index(X, Y)
    shown = next(line.split() for line in lines if line.split()[:1] == ["separation"])
    low, high = separation.interval()
    assert shown[1:6] == ["1", *(f"{v:.4f}" for v in (separation.value, low, high, separation.chance))]
    assert next(line.split() for line in lines if line.split()[:1] == ["knn"])[-1] == "–"
    classes = lines[lines.index(next(line for line in lines if line.startswith("class "))) + 1 :]
    assert classes[3].split() == ["3", f"{separation.by_class[3]:.4f}"]
    assert "measuring in x: 0 of 1 layers" in err
    assert "\nclass" not in table_alone(capsys)


def table_alone(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["measure", "x.npy", "--labels", "y.npy"]) == 0
    return capsys.readouterr().out


def test_a_p_value_too_small_for_a_number_is_not_called_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    labels = np.arange(3000) % 2  # two classes, far apart: z is about 43, and p below the smallest float
    np.save(tmp_path / "far.npy", np.random.default_rng(0).normal(size=(3000, 2)) + 99 * labels[:, None])
    np.save(tmp_path / "labels.npy", labels)
    assert main(["measure", str(tmp_path / "far.npy"), "--labels", str(tmp_path / "labels.npy")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert next(line for line in lines if line[:1] == ["separation"])[-1] == "<1e-300"
    assert next(line for line in lines if line[:1] == ["knn"])[-1] == "–"


def test_several_layers_each_have_a_table(capsys: pytest.CaptureFixture[str]):
    rows = as_json(["x.npz"], capsys)
    values = {row["layer"]: row["value"] for row in rows if row["measure"] == "separation"}
    assert values == {
        "pixels": core.separation_index(X, Y).value,
        "halved": core.separation_index(X[:, ::2], Y).value,
    }
    assert main(["measure", "train"]) == 0
    out = capsys.readouterr().out
    assert out.index("\npixels\n") < out.index("\nhalved\n")


# Studies


def assert_same_tables(one: core.Study, other: core.Study, measures: list[str]) -> None:
    for name in TABLES:
        frames = [study.table(name) for study in (one, other)]
        if name == "measurements":
            frames = [frame[frame["measure"].isin(measures)].drop(columns="q_value") for frame in frames]
            frames = [frame.assign(measure=frame["measure"].astype(str)) for frame in frames]
        pd.testing.assert_frame_equal(*(frame.reset_index(drop=True) for frame in frames), check_dtype=False)


def test_a_folder_becomes_the_study_of_its_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["measure", "train", "--test", "test", "--out", "study"]) == 0
    out, err = capsys.readouterr()
    study = core.load_study("study")
    assert study.state == "complete"
    pixels = np.concatenate([X, TEST_X])
    expected = core.study_from_features(
        {"pixels": pixels.reshape(-1, 8, 8), "halved": pixels[:, ::2]},
        np.concatenate([Y, TEST_Y]),
        splits=["train"] * 120 + ["test"] * 40,
        out=tmp_path / "expected",
    )
    without_probe = sorted(set(expected.measurements["measure"]))
    assert "linear_probe" in set(study.measurements["measure"]) - set(without_probe)
    assert_same_tables(study, expected, without_probe)
    separation = study.measurements.query("layer == 'pixels' and measure == 'separation' and split == 'train'")
    assert f"{separation['value'].item():.4f}" in out
    assert out.endswith("written to study\n")
    assert "measuring in pixels: 0 of 2 layers" in err


def test_a_file_alone_becomes_a_study(capsys: pytest.CaptureFixture[str]):
    assert main(["measure", "x.npy", "--labels", "y.npy", "--out", "s", "--neighbors", "4", "--metric", "cosine"]) == 0
    study = core.load_study("s")
    assert study.layers["layer"].tolist() == ["x"]
    assert study.neighbors["rank"].max() == 4
    value = study.measurements.query("measure == 'separation'")["value"].item()
    assert value == core.separation_index(X, Y, metric="cosine").value
    capsys.readouterr()
    rows = as_json(["x.npy", "--labels", "y.npy", "--metric", "cosine"], capsys)
    assert rows[0]["value"] == value


def test_an_interrupted_study_goes_on(capsys: pytest.CaptureFixture[str]):
    np.save("train/11-bad.npy", np.full((120, 2), np.nan))
    assert main(["measure", "train", "--out", "study"]) == 1
    assert "11-bad.npy must hold finite numbers; got nan in row 0, column 0" in capsys.readouterr().err
    assert core.load_study("study").state == "partial"
    assert core.load_study("study").layers["layer"].tolist() == ["pixels", "halved"]
    np.save("train/11-bad.npy", np.eye(120, dtype=np.float32))
    assert main(["measure", "train", "--out", "study"]) == 0
    assert core.load_study("study").layers["layer"].tolist() == ["pixels", "halved", "bad"]


# Failures


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (["x.npy"], 2, "labels must be given, since x.npy holds none"),
        (["x.npy", "--labels", "breed"], 2, "labels must be in an existing file of"),
        (["y.txt", "--labels", "y.npy"], 1, "there is no 'y.txt'"),
        (["test_y.txt", "--labels", "y.npy"], 2, "must be a file of .npy, .npz, .parquet, or a folder"),
        (["x.npy", "--labels", "test_y.txt"], 1, "must be 120, one for each sample; got 40"),
        (["x.npy", "--labels", "y.npy", "--test", "test_x.npy"], 2, "labels must be given, since test_x.npy"),
        (["x.npy", "--labels", "y.npy", "--test-labels", "y.npy"], 2, "test-labels must go with --test"),
        (["train", "--test", "test_x.npy", "--test-labels", "test_y.txt"], 2, "test must have the layers of FEATURES"),
        (["train", "--out", "s", "--by-class"], 2, "out must stand without --by-class"),
        (["train", "--out", "."], 1, "must be empty or hold a study"),
    ],
)
def test_exit_statuses(command: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["measure", *command]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[-1]
    assert not Path("s").exists()


@pytest.mark.parametrize("option", [["--neighbors", "0"], ["--neighbors", "x"], ["--metric", "l1"]])
def test_arguments_of_the_wrong_kind(option: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["measure", "x.npy", "--labels", "y.npy", *option])
    assert stopped.value.code == 2


def test_labels_of_two_kinds(capsys: pytest.CaptureFixture[str]):
    np.save("test/labels.npy", TEST_Y.astype(str))
    assert main(["measure", "train", "--test", "test", "--out", "s"]) == 2
    assert "labels must be of one kind; got integers in one part and strings in the other" in capsys.readouterr().err


def test_ties_are_told_of_layers_whose_si_depends_on_the_order(tmp_path, monkeypatch, capsys):
    """Two heaps of equal rows; then two pairs of equal rows and two rows apart, one as near to both rows of a pair."""
    monkeypatch.chdir(tmp_path)
    np.savez(
        "x.npz",
        paired=np.float32([[0], [0], [0], [1], [1], [1]]),
        apart=np.float32([[0], [0], [5], [5], [9], [20]]),
        labels=[0, 1] * 3,
    )
    assert main(["measure", "x.npz"]) == 0
    out, err = capsys.readouterr()
    assert "num_tied" not in out
    assert "note: At layer paired, 100% of the samples have several neighbors at exactly the same smallest" in err
    assert "SI then depends on the order of the samples, and nothing is concluded from it." in err
    rows = as_json(["x.npz"], capsys)
    tied = {(row["layer"], row["measure"]): row["num_tied"] for row in rows}
    assert tied["paired", "separation"] == 6
    assert tied["apart", "separation"] == 1  # 9 lies at 5 twice
    assert tied["apart", "linear_probe"] is None


def test_ties_of_test_samples_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", layer=np.float32([[0], [2], [10], [12]]), labels=[0, 0, 1, 1])
    np.savez("t.npz", layer=np.float32([[1], [11], [0], [12]]), labels=[0, 1, 0, 1])
    rows = as_json(["x.npz", "--test", "t.npz"], capsys)
    (cross,) = [row for row in rows if row["measure"] == "cross"]
    assert (cross["value"], cross["num_tied"]) == (1.0, 2)
    assert main(["measure", "x.npz", "--test", "t.npz"]) == 0
    assert "note: At layer layer, 50% of the samples" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--out", "study"]])
def test_copies_are_told(more: list[str], capsys: pytest.CaptureFixture[str]):
    np.save("copies.npy", X[:40:2])
    np.save("copies_y.npy", Y[:40:2])
    command = ["measure", "x.npy", "--labels", "y.npy", "--test", "copies.npy", "--test-labels", "copies_y.npy", *more]
    assert main(command) == 0
    out, err = capsys.readouterr()
    text = "note: 20 test samples are also training samples, number for number: test-to-train SI, kNN and probe are too"
    assert text in (out if more else err)
    if more:
        assert any("20 test samples are also training" in text for text in core.load_study("study").info["cautions"])


def test_copies_within_the_samples_are_told(capsys: pytest.CaptureFixture[str]):
    np.save("twice.npy", np.repeat(X[:40], 2, axis=0))
    np.save("twice_y.npy", np.repeat(Y[:40], 2))
    assert main(["measure", "twice.npy", "--labels", "twice_y.npy"]) == 0
    assert "note: 80 of 80 training samples have an exact copy among the others" in capsys.readouterr().err


def test_what_small_classes_make_of_the_values_is_told(capsys: pytest.CaptureFixture[str]):
    """Nine classes of two samples and one of a single sample: no vote of ten, no five neighbors of one class."""
    np.save("few.npy", X[:19])
    np.save("few_y.npy", np.arange(19) // 2)
    assert main(["measure", "few.npy", "--labels", "few_y.npy"]) == 0
    err = capsys.readouterr().err
    assert "note: Of the split train, 1 of 10 classes has a single sample" in err
    assert "left out where a measure is undefined for them: balanced is over 18 of 19 training samples." in err
    assert (
        "note: 10 of 10 classes, with 19 of 19 training samples, have fewer than 5 other samples: high_order of" in err
    )
    assert "fewer than 6 other samples: too few for a majority of 10 votes" in err
    assert main(["measure", "few.npy", "--labels", "few_y.npy", "--centers"]) == 0
    assert "balanced and center are over 18 of 19 training samples." in capsys.readouterr().err


def test_classes_that_are_large_enough_get_no_notes(capsys: pytest.CaptureFixture[str]):
    np.save("two_y.npy", np.arange(120) % 2)
    assert main(["measure", "x.npy", "--labels", "two_y.npy"]) == 0
    assert "note:" not in capsys.readouterr().err


def test_constant_features_have_no_p_values_on_neighbors(capsys: pytest.CaptureFixture[str]):
    np.save("constant.npy", np.ones((120, 3)))
    assert main(["measure", "constant.npy", "--labels", "y.npy"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    for measure in ("separation", "balanced", "high_order", "soft", "anti"):
        assert lines[measure][-2:] == ["–", "–"], measure  # z and p_value
