"""Studies of ready-made activations, checked against the measures themselves and scikit-learn."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

import core
from core.study.from_features.writer import study_samples

DIGITS = load_digits()
PIXELS = DIGITS.images[:300].astype(np.float32)
LABELS = DIGITS.target[:300]
SPLITS = np.where(np.arange(300) % 3 == 0, "test", "train").tolist()


def value(study: core.Study, measure: str, split: str, layer: str = "pixels") -> float:
    table = study.measurements
    row = table[(table["measure"] == measure) & (table["split"] == split) & (table["layer"] == layer)]
    assert len(row) == 1
    return float(row["value"].iloc[0])


@pytest.fixture(scope="module")
def digits_study(tmp_path_factory: pytest.TempPathFactory) -> core.Study:
    """Two layers, the second a projection of the first, with a split whose rows alternate."""
    projection = PIXELS.reshape(300, -1) @ np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    out = tmp_path_factory.mktemp("features") / "study"
    return core.study_from_features({"pixels": PIXELS, "projection": projection}, LABELS, out=out, splits=SPLITS)


# The numbers


def test_separation_is_that_of_each_split(digits_study: core.Study):
    for split in ("train", "test"):
        rows = np.array(SPLITS) == split
        expected = core.separation_index(PIXELS[rows], LABELS[rows])
        assert value(digits_study, "separation", split) == expected.value
        table = digits_study.measurements.query("measure == 'separation' and layer == 'pixels' and split == @split")
        assert table["chance"].item() == pytest.approx(expected.chance, abs=1e-15)
        assert table["excess"].item() == pytest.approx(expected.excess, abs=1e-15)
        assert table["num_queries"].item() == rows.sum()
        assert table["num_references"].item() == rows.sum() - 1


def test_cross_has_neighbors_among_the_training_samples(digits_study: core.Study):
    train = np.array(SPLITS) == "train"
    expected = core.cross_separation_index(PIXELS[train], LABELS[train], PIXELS[~train], LABELS[~train])
    assert value(digits_study, "cross", "test") == expected.value
    neighbors = digits_study.neighbors.query("layer == 'pixels' and split == 'test' and nearest_split == 'train'")
    nearest = neighbors[neighbors["rank"] == 1].set_index("sample")["nearest"]
    assert nearest.index.tolist() == np.flatnonzero(~train).tolist()
    assert nearest.tolist() == np.flatnonzero(train)[expected.nearest].tolist()


def test_classes_are_those_of_the_measure(digits_study: core.Study):
    rows = np.array(SPLITS) == "test"
    expected = core.separation_index(PIXELS[rows], LABELS[rows]).by_class
    table = digits_study.classes.query("layer == 'pixels' and split == 'test' and measure == 'separation'")
    assert dict(zip(table["label"], table["value"], strict=True)) == pytest.approx(expected, abs=1e-7)
    assert table["num_queries"].tolist() == np.bincount(LABELS[rows]).tolist()
    assert table["chance"].tolist() == pytest.approx((np.bincount(LABELS[rows]) - 1) / (rows.sum() - 1), abs=1e-7)


def test_knn_is_scikit_learns(tmp_path: Path):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 150)
    features = rng.normal(size=(150, 6)) + labels[:, None] * 0.4  # no two distances are equal
    study = core.study_from_features({"layer": features}, labels, out=tmp_path / "study")
    rows = study.measurements.query("measure == 'knn'").set_index("order")["value"]
    assert 5 in rows.index
    for k, found in rows.items():
        expected = cross_val_score(KNeighborsClassifier(k), features, labels, cv=LeaveOneOut()).mean()
        assert 0.3 < expected < 0.9
        assert found == pytest.approx(expected, abs=1e-12), k


def test_neighbors_are_those_of_the_measure(digits_study: core.Study):
    rows = np.flatnonzero(np.array(SPLITS) == "train")
    expected = core.nearest_neighbors(PIXELS[rows], k=10)
    table = digits_study.neighbors.query("layer == 'pixels' and split == 'train'")
    assert table["nearest"].tolist() == rows[expected.indices].ravel().tolist()
    np.testing.assert_allclose(table["distance"], expected.distances.ravel(), rtol=1e-6)
    assert table["same_label"].tolist() == (LABELS[table["sample"]] == LABELS[table["nearest"]]).tolist()


def test_fewer_samples_than_neighbors(tmp_path: Path):
    study = core.study_from_features({"layer": np.eye(4)}, [0, 0, 1, 1], out=tmp_path / "study")
    assert study.neighbors.groupby("sample").size().tolist() == [3, 3, 3, 3]
    assert study.measurements["order"].max() <= 3  # 3 neighbors cannot be 5 that vote


@pytest.mark.parametrize(
    ("labels", "splits", "cautions"),
    [
        ([0, 0, 1, 1, 0, 1], ["train"] * 4 + ["test"] * 2, ["Each class has a single sample of the split test"]),
        ([0, 1, 0, 0, 1, 1], ["train"] * 2 + ["test"] * 4, ["Each class has a single sample of the split train"]),
        ([0, 0, 0, 1, 1, 2], ["train"] * 6, ["Of the split train, 1 of 3 classes has a single sample"]),
        ([0, 0, 0, 1, 1, 1], ["train"] * 6, []),
    ],
)
def test_classes_of_one_sample_are_no_error_but_a_caution(tmp_path: Path, labels, splits, cautions):
    with core.FeatureStudyWriter(
        tmp_path / "study", labels, splits=splits, probe=True, related_measures=True
    ) as writer:
        writer.add_layer("line", np.arange(6.0)[:, None] ** 2)
    study = core.load_study(tmp_path / "study")
    assert [text[: len(start)] for text, start in zip(study.info["cautions"], cautions, strict=True)] == cautions
    for text in study.info["cautions"]:
        if text.startswith("Each"):
            split = text.split(":")[0].split(" the split ")[1].split(",")[0]
            assert value(study, "separation", split, "line") == 0
            rows = study.measurements.query("measure == 'balanced' and split == @split")
            assert rows[["value", "low", "high"]].isna().all(axis=None)


def test_the_metric_is_used_and_recorded(tmp_path: Path):
    features = np.array([[1, 0], [9, 0.1], [1.1, 1], [10, 10]])  # by angle the pairs are others than by distance
    values = {}
    for metric in ("euclidean", "cosine"):
        with core.FeatureStudyWriter(tmp_path / metric, [0, 0, 1, 1], neighbors=1, metric=metric) as writer:
            writer.add_layer("layer", features)
        study = core.load_study(tmp_path / metric)
        values[metric] = value(study, "separation", "train", "layer")
        assert set(study.measurements["metric"]) == {metric}
    assert values == {"euclidean": 0.0, "cosine": 1.0}


# The layers and samples


def test_the_table_of_layers(digits_study: core.Study):
    layers = digits_study.layers
    assert layers["layer"].tolist() == ["pixels", "projection"]
    assert layers["position"].tolist() == [0, 1]
    assert layers["num_features"].tolist() == [64, 3]
    assert [shape.tolist() for shape in layers["output_shape"]] == [[8, 8], [3]]
    assert layers["channels"].isna().tolist() == [True, False]  # which axis of (8, 8) are channels is unknown
    assert digits_study.state == "complete"


def test_what_is_known_of_a_layer_is_written(tmp_path: Path):
    with core.FeatureStudyWriter(tmp_path / "study", [0, 1, 0]) as writer:
        writer.add_layer("layer4", np.eye(3), kind="Conv2d", block="layer4", parameters=1200)
    row = core.load_study(tmp_path / "study").layers.iloc[0]
    assert (row["kind"], row["block"], row["channels"], row["parameters"]) == ("Conv2d", "layer4", 3, 1200)


@pytest.mark.parametrize(
    ("labels", "class_names", "expected"),
    [
        (["b", "a", "b"], None, [(1, "b"), (0, "a"), (1, "b")]),
        ([7, 3, 7], None, [(1, "7"), (0, "3"), (1, "7")]),
        ([2, 0, 2], ["ant", "bee", "cat"], [(2, "cat"), (0, "ant"), (2, "cat")]),
        (["cat", "ant", "cat"], ["ant", "bee", "cat"], [(2, "cat"), (0, "ant"), (2, "cat")]),
        (np.array(["x", "y", "x"], dtype=object), None, [(0, "x"), (1, "y"), (0, "x")]),
    ],
)
def test_labels_and_class_names(tmp_path: Path, labels: Any, class_names: Any, expected: list[tuple[int, str]]):
    study = core.study_from_features({"a": np.eye(3)}, labels, out=tmp_path / "study", class_names=class_names)
    got = list(zip(study.samples["label"].tolist(), study.samples["class_name"].astype(str), strict=True))
    assert got == expected


@pytest.mark.parametrize(
    ("labels", "class_names", "expected"),
    [
        ([0, 1, 0], {0: "cat", 1: "dog"}, ["cat", "dog", "cat"]),
        ([0, 1, 0], {1: "dog", 0: "cat"}, ["cat", "dog", "cat"]),
        ([7, -3, 7], {7: "cat", -3: "dog", 9: "owl"}, ["cat", "dog", "cat"]),
        ([0, 1, 0], {"0": "cat", "1": "dog"}, ["cat", "dog", "cat"]),  # as JSON has it
        (["n1", "n2", "n1"], {"n1": "cat", "n2": "dog"}, ["cat", "dog", "cat"]),
        ([False, True, False], {False: "cat", True: "dog"}, ["cat", "dog", "cat"]),
    ],
)
def test_class_names_by_label(tmp_path: Path, labels: list, class_names: dict, expected: list[str]):
    study = core.study_from_features({"a": np.eye(3)}, labels, out=tmp_path / "study", class_names=class_names)
    assert study.samples["class_name"].astype(str).tolist() == expected
    assert study.samples["label"].tolist() == [list(class_names.values()).index(name) for name in expected]


@pytest.mark.parametrize(
    ("labels", "class_names", "message"),
    [
        ([0, 1, 2], {0: "cat", 1: "dog"}, r"class_names must name every label; 2 is missing"),
        ([0, 1, 0], {0: "cat", 1: "cat"}, r"class_names must be distinct; got 'cat' more than once"),
        ([0, 1, 0], ["cat", "cat"], r"class_names must be distinct; got 'cat' more than once"),
        ([0, 1, 0], {0: "cat", "0": "dog", 1: "owl"}, r"class_names must name each label once"),
        ([0, 1, 0], "cat", r"must be a sequence of names or a mapping from label to name; got str"),
        ([0, 1, 0], {"cat", "dog"}, r"must be a sequence of names or a mapping from label to name; got set"),
        ([1, 2, 1], ["cat", "dog"], r"must name the labels 1\.\.2; got 2 names, for 0\.\.1\. Pass \{label: name\}"),
    ],
)
def test_class_names_that_name_no_classes(tmp_path: Path, labels: list, class_names: Any, message: str):
    with pytest.raises(ValueError, match=message):
        core.study_from_features({"a": np.eye(3)}, labels, out=tmp_path / "study", class_names=class_names)


@pytest.mark.parametrize("labels", [[1, "1", 2], ["a", float("nan"), "b"], ["a", True, "b"]])
def test_labels_of_several_kinds_are_refused_before_numpy_makes_texts_of_them(tmp_path: Path, labels: list):
    with pytest.raises(ValueError, match=r"labels must be all integers or all strings; got .*str"):
        core.study_from_features({"a": np.eye(3)}, labels, out=tmp_path / "study")


def test_ids_and_sources(tmp_path: Path):
    features = {"a": np.eye(3)}
    study = core.study_from_features(features, [0, 1, 1], out=tmp_path / "default")
    assert study.samples["id"].tolist() == study.samples["source"].tolist() == ["0", "1", "2"]
    named = core.study_from_features(
        features, [0, 1, 1], out=tmp_path / "named", ids=["x", "y", "z"], sources=["scan 1", "scan 2", "scan 3"]
    )
    assert named.samples["id"].tolist() == ["x", "y", "z"]
    assert named.samples["source"].tolist() == ["scan 1", "scan 2", "scan 3"]
    assert any("names, not files" in caution for caution in named.info["cautions"])


def test_sources_that_are_files_are_found_again_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    sources = [tmp_path / "images/a/1.png", "../images/a/2.png", "../here/../images/b/3.png"]
    study = core.study_from_features({"a": np.eye(3)}, [0, 1, 1], out=tmp_path / "study", sources=sources)
    assert study.samples["source"].tolist() == ["a/1.png", "a/2.png", "b/3.png"]
    assert study.info["used"]["data"]["sources_folder"] == str(tmp_path / "images")


@pytest.mark.parametrize(
    ("sources", "missing"),
    [
        (["gone.png", "also gone.JPG", "s3"], r"2 of 3 are missing: 'gone\.png', 'also gone\.JPG'\."),
        (["there.png", "scan", "https://example.com/x.png"], r"1 of 3 are missing: 'scan'\."),
        ([Path("gone"), Path("b"), Path("c")], r"3 of 3 are missing"),
    ],
)
def test_sources_that_should_be_files_and_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list, missing: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").touch()
    with pytest.raises(ValueError, match=rf"sources must be files that exist, or no paths; {missing}.*current folder"):
        core.study_from_features({"a": np.eye(3)}, [0, 1, 1], out=tmp_path / "study", sources=sources)
    assert not (tmp_path / "study").exists()


def test_addresses_are_no_files(tmp_path: Path):
    sources = [f"https://example.com/{number}.png" for number in range(3)]
    study = core.study_from_features({"a": np.eye(3)}, [0, 1, 1], out=tmp_path / "study", sources=sources)
    assert study.samples["source"].tolist() == sources


# Going on


def test_an_exception_keeps_the_layers_and_a_new_writer_goes_on(tmp_path: Path, digits_study: core.Study):
    def write(skip: frozenset[str], fail: bool) -> None:
        with core.FeatureStudyWriter(tmp_path / "study", LABELS, splits=SPLITS) as writer:
            if "pixels" not in skip:
                writer.add_layer("pixels", PIXELS)
            if fail:
                raise RuntimeError("out of memory")
            projection = PIXELS.reshape(300, -1) @ np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
            writer.add_layer("projection", projection)

    with pytest.raises(RuntimeError, match="out of memory"):
        write(frozenset(), fail=True)
    partial = core.load_study(tmp_path / "study")
    assert (partial.state, partial.layers["layer"].tolist()) == ("partial", ["pixels"])
    write(frozenset(partial.layers["layer"]), fail=False)
    whole = core.load_study(tmp_path / "study")
    assert whole.state == "complete"
    for name in ("layers", "measurements", "classes", "samples", "neighbors"):
        pd.testing.assert_frame_equal(whole.table(name), digits_study.table(name))


def test_layers_measured_together_have_the_tables_of_those_measured_one_by_one(tmp_path: Path):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    layers = {f"layer{number}": rng.normal(size=(60, 2 + 5 * number)) + labels[:, None] for number in range(6)}
    together, one_by_one = tmp_path / "together", tmp_path / "one-by-one"
    core.study_from_features(layers, labels, out=together)
    with core.FeatureStudyWriter(one_by_one, labels) as writer:
        for name, features in layers.items():
            writer.add_layer(name, features)
    for table in one_by_one.glob("*.parquet"):
        assert (together / table.name).read_bytes() == table.read_bytes(), table.name


def test_layers_before_one_that_cannot_be_measured_are_in_the_study(tmp_path: Path):
    good, labels = np.eye(8), np.arange(8) % 2
    bad = np.where(good > 0, np.nan, good)
    writer = core.FeatureStudyWriter(tmp_path / "study", labels)
    with writer, pytest.raises(ValueError, match="features of 'c' must be finite"):
        writer.add_layers([("a", good), ("b", good), ("c", bad), ("d", good)])
    assert core.load_study(tmp_path / "study").layers["layer"].tolist() == ["a", "b"]
    other = core.FeatureStudyWriter(tmp_path / "other", labels)
    with other:
        with pytest.raises(ValueError, match="name must be new in the study; 'a' is there already"):
            other.add_layers([("a", good), ("a", good)])
        other.add_layer("b", good)
    assert core.load_study(tmp_path / "other").layers["layer"].tolist() == ["a", "b"]


def test_of_a_start_without_a_layer_nothing_stays(tmp_path: Path):
    with pytest.raises(ValueError, match="must be finite"):
        core.study_from_features({"a": [[0.0], [np.nan], [2]]}, [0, 1, 1], out=tmp_path / "s")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "marks.json").write_text("{}")  # of the explorer
    with pytest.raises(ValueError, match="must be finite"):
        core.study_from_features({"a": [[0.0], [np.nan], [2]]}, [0, 1, 1], out=tmp_path / "s")
    assert (tmp_path / "s" / "marks.json").exists()


def test_going_on_with_other_samples_is_refused(tmp_path: Path):
    layers = {"a": [[0.0], [1], [2]], "b": [[0.0], [np.nan], [2]]}
    with pytest.raises(ValueError, match="must be finite"):
        core.study_from_features(layers, [0, 1, 1], out=tmp_path / "s")
    other_labels = core.FeatureStudyWriter(tmp_path / "s", [1, 0, 1])
    with pytest.raises(core.StudyError, match=r"data\.fingerprint"), other_labels:
        pass
    fewer_neighbors = core.FeatureStudyWriter(tmp_path / "s", [0, 1, 1], neighbors=3)
    with pytest.raises(core.StudyError, match="neighbors: 10 → 3"), fewer_neighbors:
        pass
    with core.FeatureStudyWriter(tmp_path / "s", [0, 1, 1]) as writer:  # the refused writers hold no lock
        writer.add_layer("b", np.eye(3))


def test_a_complete_study_is_not_opened_again(tmp_path: Path):
    core.study_from_features({"a": np.eye(3)}, [0, 1, 1], out=tmp_path / "study")
    writers = [core.FeatureStudyWriter(tmp_path / "study", [0, 1, 1]) for _ in range(2)]
    for writer in writers:  # the first, refused, holds no lock that the second would meet
        with pytest.raises(core.StudyError, match=r"holds a complete study\. Choose another folder"), writer:
            pass


# Bad input


def test_bad_layers_are_refused_and_leave_the_good_ones(tmp_path: Path):
    bad: list[tuple[str, Any, str]] = [
        ("short", np.eye(2), r"features of 'short' must have 3 rows, one a label; got 2"),
        (
            "nan",
            [[1.0], [np.nan], [2.0]],
            r"features of 'nan' must be finite; got nan in row 1 \(sample '1'\), column 0",
        ),
        ("infinite", [[1.0], [np.inf], [2.0]], r"features of 'infinite' must be finite; got inf in row 1"),
        ("good", np.eye(3), r"name must be new in the study; 'good' is there already"),
        ("text", [["a"], ["b"], ["c"]], r"features must be real numbers"),
        ("empty", np.empty((3, 0)), r"features must hold at least one number a sample"),
    ]
    with core.FeatureStudyWriter(tmp_path / "study", [0, 1, 1]) as writer:
        writer.add_layer("good", np.eye(3))
        for name, features, message in bad:
            with pytest.raises(ValueError, match=message):
                writer.add_layer(name, features)
    assert core.load_study(tmp_path / "study").layers["layer"].tolist() == ["good"]


def test_no_layers(tmp_path: Path):
    with pytest.raises(ValueError, match="layers must hold at least one array; got none"):
        core.study_from_features({}, [0, 1], out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ["a", "b", "a", "a"]}, "ids must be distinct; got 2 repeated"),
        ({"ids": ["a", "b"]}, "ids must have one entry a sample, 4; got 2"),
        ({"sources": ["a"]}, "sources must have one entry a sample, 4; got 1"),
        ({"splits": ["train"] * 3}, "splits must have one entry a sample, 4; got 3"),
        ({"splits": ["train", "val", "dev", "train"]}, "splits must be 'train' or 'test'; got 'dev', 'val'"),
        ({"splits": ["train", "train", "train", "test"]}, "at least two samples in each; 'test' has one"),
        ({"class_names": ["only"]}, r"class_names must name the labels 0\.\.1; got 1 names, for 0\.\.0"),
    ],
)
def test_bad_descriptions_of_the_samples(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        study_samples([0, 0, 1, 1], **options)


def test_bad_labels():
    with pytest.raises(ValueError, match=r"class_names must hold every label; 'dog' is missing"):
        study_samples(["cat", "dog"], class_names=["ant", "cat"])
    with pytest.raises(ValueError, match=r"class_names must name the labels -1\.\.1"):
        study_samples([-1, 0, 1], class_names=["a", "b"])
    with pytest.raises(ValueError, match="labels must be integers or strings of shape"):
        study_samples([0.5, 1.5])
    with pytest.raises(ValueError, match="labels must be all integers or all strings"):
        study_samples(np.array(["a", None], dtype=object))


def test_bad_options_are_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(ValueError, match="neighbors"):
        core.FeatureStudyWriter(tmp_path / "study", [0, 1, 1], neighbors=0)
    with pytest.raises(ValueError, match="metric"):
        core.FeatureStudyWriter(tmp_path / "study", [0, 1, 1], metric="manhattan")
    assert not (tmp_path / "study").exists()


# The base install

BASE_ONLY = """
import sys
for name in ("tensorflow", "keras", "streamlit", "altair", "PIL", "torch"):
    sys.modules[name] = None  # as if not installed
import numpy as np
import core
study = core.study_from_features({"a": np.eye(4)}, [0, 0, 1, 1], out=sys.argv[1])
print(study.state, len(study.neighbors))
"""


def test_the_base_install_is_enough(tmp_path: Path):
    root = Path(core.__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", BASE_ONLY, str(tmp_path / "study")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("complete 12\n", "", 0)
