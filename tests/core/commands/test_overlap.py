"""python -m core overlap: what it prints of two studies and of one, and what it refuses."""

import json

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.layer_overlap import neighbor_overlap
from core.cli import main

FIRST = np.random.default_rng(0).normal(size=(40, 5))
NOISE = np.random.default_rng(1).normal(size=(40, 5))


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two networks: the second one's `late` is the first one's `early`, turned."""
    folder, splits = tmp_path_factory.mktemp("overlap"), ["train", "test"] * 20
    networks = {"one": {"early": FIRST, "late": NOISE}, "two": {"early": NOISE[::-1], "late": -3 * FIRST}}
    for name, layers in networks.items():
        core.study_from_features(layers, np.arange(40) // 2 % 2, out=folder / name, splits=splits)
    return [core.load_study(folder / name) for name in networks]


def test_network_against_network(studies, capsys, tmp_path):
    out = tmp_path / "pairs.csv"
    assert main(["overlap", *(str(study.path) for study in studies), "--out", str(out)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["layer", "most", "alike", "overlap", "with", "its", "namesake"]
    assert lines[1][:3] == ["early", "late", "1.000"]
    assert "note: That these are the same samples, in the same order, is assumed" in " ".join(map(" ".join, lines))
    expected = neighbor_overlap(*studies)
    namesake = expected.query("layer == 'early' and other_layer == 'early'")["value"].item()
    assert float(lines[1][3]) == pytest.approx(namesake, abs=5e-4)
    assert "10 nearest that both have, test samples, mean; by chance 0.5263 (20 samples)" in " ".join(lines[3])
    pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False)


def test_layers_of_one_network(studies, capsys):
    assert main(["overlap", str(studies[0].path), "--split", "train", "--neighbors", "3"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["early", "late"], ["late", "early"]]
    assert "3 nearest that both have, train samples" in out
    assert "namesake" not in out
    assert main(["overlap", str(studies[0].path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--neighbors", "11"], 1, "k must be from 1 to 10"),
        (["--out", "pairs.txt"], 2, "out must end in .csv, .json or .parquet; got 'pairs.txt'"),
    ],
)
def test_wrong_usage(studies, capsys, words, status, message):
    assert main(["overlap", str(studies[0].path), *words]) == status
    assert message in capsys.readouterr().err
