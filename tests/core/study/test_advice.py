"""Where to cut, on studies of values worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import core
from core.measures.paired import paired_difference
from core.study.advice import advise, earliest_within, layers_before_head, with_seconds
from core.study.results import StudyError, load_study
from core.study.writing import begin, end, write_layer

SAMPLES = 60
LABELS = np.arange(SAMPLES) % 3
COUNTS = (10, 49, 50, 51, 30)  # samples whose nearest agrees: far below the best, nearly it twice, the best, below it
KINDS = ("Conv2D", "Conv2D", "Add", "GlobalAveragePooling2D", "Dense")


def measured(layer: str, measure: str, value: float, split: str, pooling: str) -> dict[str, object]:
    row = {"split": split, "layer": layer, "pooling": pooling, "measure": measure, "repeat": 0, "sampling": "full"}
    interval = {"low": value - 0.1, "high": value + 0.1} if measure == "separation" else {}
    return row | {"order": 1, "target": "population", "metric": "euclidean", "ties": "first", "value": value} | interval


def write(folder: Path, counts=COUNTS, *, neighbors=True, split="test", pooling="mean", sizes=True) -> Path:
    """A study of three classes, a layer for each count; who disagrees has the next class as its nearest."""
    folder.mkdir()
    samples = pd.DataFrame({"sample": np.arange(SAMPLES), "split": split, "label": LABELS, "class_name": "c"})
    samples = samples.assign(id=samples["sample"].astype(str), source="")
    info = begin(folder, {}, samples)
    for position, count in enumerate(counts):
        name, agrees = f"layer{position}", np.arange(SAMPLES) < count
        rows = [measured(name, "separation", count / SAMPLES, split, pooling)]
        rows.append(measured(name, "linear_probe", count / 100, split, pooling))
        row = {"position": position, "layer": name, "kind": KINDS[position], "block": ""}
        row |= {"output_shape": [4] if position > 2 else [2, 2, 4]}
        row |= {"cumulative_parameters": 100 * position, "cumulative_flop": 1000 * position} if sizes else {}
        nearest = (np.arange(SAMPLES) + np.where(agrees, 3, 1)) % SAMPLES
        place = {"split": split, "layer": name, "pooling": pooling, "rank": 1, "nearest_split": split, "distance": 1.0}
        near = pd.DataFrame({"sample": np.arange(SAMPLES), "nearest": nearest, "agrees": agrees}).assign(**place)
        tables = {"layers": pd.DataFrame([row]), "measurements": pd.DataFrame(rows)}
        write_layer(folder, position, tables | ({"neighbors": near} if neighbors else {}))
    end(folder, info, complete=True)
    return folder


@pytest.fixture
def study(tmp_path):
    return load_study(write(tmp_path / "study"))


def test_the_best_and_the_earliest_within(study):
    advice = advise(study)
    assert (advice.best, advice.earliest) == ("layer3", "layer1")
    assert advice.layers["within"].tolist() == [False, True, True, True, False]
    assert advice.layers["difference"].to_numpy() == pytest.approx((np.array(COUNTS) - 51) / SAMPLES)
    assert advice.layers["paired"].all()


def test_what_a_cut_saves_and_costs(study):
    row = advise(study).row("layer1")
    assert (row["parameters"], row["flop"]) == (100, 1000)
    assert (row["parameters_saved"], row["flop_saved"]) == (0.75, 0.75)
    assert row["linear_probe"] == 0.49
    assert row["linear_probe_difference"] == pytest.approx(-0.02)
    assert np.isnan(row["seconds"])


def test_the_interval_is_the_paired_one_turned_round(study):
    near = study.neighbors
    one, best = (near[near["layer"] == name].sort_values("sample") for name in ("layer1", "layer3"))
    nodes = {"nodes_before": one[["sample", "nearest"]], "nodes_after": best[["sample", "nearest"]]}
    names = np.full(SAMPLES, "c")  # the study's classes bear one name, and names tell classes apart
    low, high = paired_difference(one["agrees"], best["agrees"], names, **nodes).interval()
    row = advise(study).row("layer1")
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((-high, -low))


def test_the_best_differs_from_itself_by_nothing(study):
    row = advise(study).row("layer3")
    assert (row["difference"], row["difference_low"], row["difference_high"]) == (0, 0, 0)
    assert row["within"]


def test_the_quick_way_finds_the_same_layer(study):
    found = earliest_within(study, split="test", pooling="mean")
    row = advise(study).row("layer1")
    assert (found.best, found.layer, found.paired) == ("layer3", "layer1", True)
    assert (found.low, found.high) == pytest.approx((-row["difference_high"], -row["difference_low"]))


def test_the_first_of_equally_high_layers_is_the_best(tmp_path):
    found = earliest_within(load_study(write(tmp_path / "study", (50, 50, 50))), split="test", pooling="mean")
    assert (found.best, found.layer, found.paired) == ("layer0", "layer0", False)
    assert np.isnan(found.low)


def test_without_neighbors_the_interval_is_wider_and_unpaired(tmp_path, study):
    advice = advise(load_study(write(tmp_path / "lean", neighbors=False)))
    assert not advice.row("layer1")["paired"]
    assert advice.earliest == "layer1"
    assert advice.row("layer1")["difference_low"] < advise(study).row("layer1")["difference_low"]


def test_candidates_can_be_named(study):
    assert advise(study, layers=["layer0", "layer4"]).best == "layer4"
    with pytest.raises(StudyError, match="no separation, mean, of test samples at 'layer9'"):
        advise(study, layers=["layer0", "layer9"])


def test_the_head_is_no_place_to_cut(study, tmp_path):
    assert layers_before_head(study) == ["layer0", "layer1", "layer2", "layer3"]
    features = core.study_from_features({"a": np.eye(4), "b": np.eye(4)}, [0, 0, 1, 1], out=tmp_path / "features")
    assert layers_before_head(features) == ["a", "b"]


def test_seconds_are_joined_to_the_layers_that_were_timed(study):
    table = with_seconds(advise(study), {"layer1": 0.25, "layer4": 1.0}).layers.set_index("layer")
    assert table["seconds_saved"]["layer1"] == 0.75
    assert table["seconds"].isna().tolist() == [True, False, True, True, False]


def test_a_study_of_features_has_no_network(tmp_path):
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    layers = {"near": rng.normal(size=(40, 3)), "far": rng.normal(size=(40, 3)) + 9 * labels[:, None]}
    advice = advise(core.study_from_features(layers, labels, out=tmp_path / "features"))
    assert (advice.best, advice.split) == ("far", "train")  # there are no test samples
    assert not advice.row("near")["within"]
    for column in ("parameters", "flop", "parameters_saved", "flop_saved", "seconds", "linear_probe"):
        assert advice.layers[column].isna().all(), column


def test_a_study_of_the_other_pooling_is_asked_about_that(tmp_path):
    assert advise(load_study(write(tmp_path / "flat", pooling="flat"))).pooling == "flat"


def test_a_study_from_before_flop_were_counted_has_none(tmp_path):
    folder = write(tmp_path / "old")
    table = pd.read_parquet(folder / "layers.parquet").drop(columns="cumulative_flop")
    table.to_parquet(folder / "layers.parquet")
    layers = advise(load_study(folder)).layers
    assert layers["flop"].isna().all()
    assert layers["parameters"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "accuracy"}, "measure must be one of separation, cross; got 'accuracy'"),
        ({"measure": "cross"}, "has no cross, mean, of test samples"),
    ],
)
def test_what_the_study_lacks_is_said(study, options, message):
    with pytest.raises(ValueError, match=message):
        advise(study, **options)


def test_an_unknown_row_is_refused(study):
    with pytest.raises(ValueError, match="layer must be one of the candidates, layer0"):
        advise(study).row("stem")
