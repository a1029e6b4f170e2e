"""The tables of the pages Classes and Samples, from Python and from the command line: the same ones."""

import json

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.samples.prediction_depth import prediction_depth
from core.cli import main
from core.report.words.formatting import plain

CLASSES = ("n02113978-Mexican_hairless", "n02099601-golden_retriever", "n02110958-pug")
NAMES = ("Mexican hairless", "golden retriever", "pug")
EACH = 24  # samples of a class, half of them in each split
WRONG = (0, 30, 61)  # samples with a wrong label, the last one of the test split


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes, apart at the last layer; three samples have wrong labels, and two pairs are copies."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), EACH)
    noise = rng.normal(size=(3 * EACH, 4))
    layers = {name: noise + far * np.eye(3, 4)[labels] for name, far in {"early": 0.5, "middle": 2, "late": 6}.items()}
    splits = np.array(["train", "test"] * (3 * EACH // 2))
    for features in layers.values():
        features[3] = features[2]  # of both splits
        features[50] = features[48]  # of one
    given = labels.copy()
    given[list(WRONG)] = (labels[list(WRONG)] + 1) % 3
    out = tmp_path_factory.mktemp("tables") / "study"
    core.study_from_features(
        layers, given, out=out, splits=splits, class_names=CLASSES, ids=[f"images/{row:03d}.png" for row in range(72)]
    )
    return out


def shown_tables(page) -> list[pd.DataFrame]:
    return [element.value.reset_index(drop=True) for element in page.dataframe]


def assert_shown(table: pd.DataFrame, page) -> None:
    """One of the page's tables has the same columns, but for those that it hides, and the same values."""
    renamed = table.rename(columns={"layer": "decided"}) if "depth" in table else table
    candidates = [shown for shown in shown_tables(page) if set(shown.columns) <= set(renamed.columns)]
    assert len(candidates) == 1, [list(shown.columns) for shown in shown_tables(page)]
    (shown,) = candidates
    assert set(renamed.columns) - set(shown.columns) <= {"sample", "layers"}
    pd.testing.assert_frame_equal(renamed[list(shown.columns)], shown, check_dtype=False, check_categorical=False)


CHOICES = [
    pytest.param({}, {}, id="default"),
    pytest.param({"split": "train", "layer": "middle"}, {"split": "train", "layer": "middle"}, id="train"),
    pytest.param({"among": "train", "layer": "early"}, {"split": "cross", "layer": "early"}, id="test among train"),
]


@pytest.mark.parametrize(("choice", "query"), CHOICES)
def test_the_tables_are_those_of_the_page_samples(open_view, folder, choice, query):
    page = open_view("samples", folder, tab="data-quality", **query)
    study = core.load_study(folder)
    without_layer = {name: value for name, value in choice.items() if name != "layer"}
    layer = {name: value for name, value in choice.items() if name == "layer"}
    assert_shown(core.label_errors(study, **choice), page)
    assert_shown(core.prediction_depths(study, **without_layer), page)
    assert_shown(core.duplicates(study, **layer), page)


@pytest.mark.parametrize(("choice", "query"), CHOICES)
def test_the_tables_are_those_of_the_page_classes(open_view, folder, choice, query):
    page = open_view("classes", folder, tab="pairs", **query)
    study = core.load_study(folder)
    pairs = core.confused_classes(study, **choice)
    if len(pairs):
        assert_shown(pairs, page)
    hardest = core.class_separation(study, **choice).iloc[0]
    finding = f"the lowest SI of 3 classes is that of **{plain(hardest['class_name'])}**, **{hardest['value']:.2f}**"
    assert finding in " ".join(element.value for element in page.markdown)


def test_what_is_listed(folder):
    study = core.load_study(folder)
    errors = core.label_errors(study)
    assert errors.iloc[0][["id", "class_name", "suggested"]].tolist() == ["images/061.png", NAMES[0], NAMES[2]]
    train = core.label_errors(study, split="train")
    wrong = train[train["score"] >= 0.9].sort_values("sample")
    assert wrong["id"].tolist() == ["images/000.png", "images/030.png"]
    assert wrong[["class_name", "suggested"]].to_numpy().tolist() == [[NAMES[1], NAMES[0]], [NAMES[2], NAMES[1]]]
    pairs = core.duplicates(study)
    assert pairs[["first", "second", "across"]].to_numpy().tolist() == [
        ["images/002.png", "images/003.png", True],
        ["images/048.png", "images/050.png", False],
    ]
    assert core.duplicates(study, within=0.0).equals(pairs)
    assert set(core.class_separation(study)["class_name"]) == set(NAMES)


COMMANDS = {
    "label-errors": core.label_errors,
    "duplicates": core.duplicates,
    "confused-classes": core.confused_classes,
    "class-clusters": core.class_clusters,
    "class-separation": core.class_separation,
    "prediction-depths": core.prediction_depths,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_and_writes_the_table(name, folder, tmp_path, capsys):
    expected = COMMANDS[name](core.load_study(folder), **({"layer": "early"} if name == "confused-classes" else {}))
    words = [name, str(folder), *(["--layer", "early"] if name == "confused-classes" else [])]
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads(expected.to_json(orient="records", double_precision=15))
    for suffix in ("csv", "json", "parquet"):
        assert main([*words, "--out", str(tmp_path / f"table.{suffix}")]) == 0
    assert (tmp_path / "table.json").read_text() == printed.rstrip("\n")
    for written in (
        pd.read_csv(tmp_path / "table.csv", keep_default_na=False),
        pd.read_parquet(tmp_path / "table.parquet"),
    ):
        pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_categorical=False)
    text = capsys.readouterr().out
    assert f"written to {tmp_path / 'table.csv'}" in text
    assert ("score: votes / (votes + own_votes)." in text) == (name == "label-errors")
    for column in ("class_name", "first", "id"):
        if column in expected:
            assert str(expected[column].iloc[0]) in text


def test_two_classes_and_one_sample_through_the_layers(folder, capsys):
    study = core.load_study(folder)
    pair, path = core.class_pair(study, *NAMES[:2]), core.sample_path(study, "images/061.png")
    assert pair["layer"].tolist() == path["layer"].tolist() == study.layers["layer"].tolist()
    nearest = study.neighbors[
        (study.neighbors["rank"] == 1) & (study.neighbors["layer"].astype(str) == pair["layer"][0])
    ]
    nearest = nearest[(nearest["split"].astype(str) == "test") & (nearest["nearest_split"].astype(str) == "test")]
    labels = study.samples.set_index("sample")["label"]
    ends = pd.DataFrame({"a": nearest["sample"].map(labels), "b": nearest["nearest"].map(labels)})
    assert pair["count"][0] == ((ends["a"] + ends["b"] == 1) & (ends["a"] != ends["b"])).sum()
    assert pair["total"][0] == ends["a"].isin([0, 1]).sum()
    for words, table in ((["class-pair", *NAMES[:2]], pair), (["sample-path", "images/061.png"], path)):
        assert main([words[0], str(folder), *words[1:], "--json"]) == 0
        expected = json.loads(table.to_json(orient="records", double_precision=15))
        assert json.loads(capsys.readouterr().out) == expected


def test_a_few_rows_are_printed_and_the_number_of_all_is_said(folder, capsys):
    assert main(["prediction-depths", str(folder), "--rows", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "class_name", "depth", "layer", "prediction", "correct", "settled"]
    assert lines[3] == "2 of 36 rows; --rows prints more, --out FILE writes all"
    assert "the vote of a sample's 10 stored neighbors no longer changes" in lines[4]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["label-errors", "--at-least", "0"], 2, "at_least must be more than 0 and at most 1; got 0.0"),
        (["duplicates", "--within", "-1"], 2, "within must be at least 0; got -1.0"),
        (["confused-classes", "--out", "pairs.txt"], 2, "out must end in .csv, .json or .parquet; got 'pairs.txt'"),
        (["class-separation", "--layer", "lat"], 1, "got 'lat'. Did you mean 'late'"),
        (["class-pair", "ant", "mouse"], 2, "first must be a class of the study; got 'ant'"),
        (["class-pair", NAMES[0], NAMES[0]], 2, "first and second must be two classes"),
        (["sample-path", "images/61.png"], 2, "got 'images/61.png'. Did you mean 'images/061.png'"),
        (["sample-path", "images/061.png", "--split", "train"], 2, "split must be that of the sample, test; got"),
        (["prediction-depths", "--split", "train", "--among", "test"], 1, "among must be 'train' for training samples"),
    ],
)
def test_wrong_usage(folder, capsys, words, status, message):
    assert main([words[0], str(folder), *words[1:]]) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "class-separation"])
def test_a_study_without_neighbors_says_so(name, folder, tmp_path, capsys):
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in folder.iterdir():
        if file.is_file() and file.name != "neighbors.parquet":
            (bare / file.name).write_bytes(file.read_bytes())
    assert main([name, str(bare)]) == 1
    assert "stores no neighbors" in capsys.readouterr().err


def test_classes_without_names_are_told_apart_by_their_labels(folder, tmp_path):
    """Other writers may leave class names out: predictions and suspects are then the labels, not one class "None"."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (bare / file.name).write_bytes(file.read_bytes())
    samples = pd.read_parquet(bare / "samples.parquet")
    samples.assign(class_name=None).to_parquet(bare / "samples.parquet", index=False)
    study = core.load_study(bare)
    wrong = core.label_errors(study, split="train", at_least=0.9).sort_values("sample")
    assert wrong[["class_name", "suggested"]].to_numpy().tolist() == [["1", "0"], ["2", "1"]]
    depths = prediction_depth(study, "flat", "train")
    assert not depths.loc[0, "correct"]
