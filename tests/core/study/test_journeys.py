"""Samples through the layers, on tables worked out by hand."""

import numpy as np
import pandas as pd
import pytest

import core
from core.study.journeys import agreement, fates, label_errors, nearest_at_the_end, nearest_by_layer

LABELS = ["a", "a", "b", "b"]
SAMPLES = pd.DataFrame(
    {
        "sample": range(6),
        "id": list("uvwxyz"),
        "split": "train",
        "class_name": ["cat", "cat", "cat", "dog", "dog", "fox"],
    }
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four points on a line whose pairs are apart only at the second layer; the third has space."""
    line, pairs = np.array([[0.0], [4], [1], [5]]), np.array([[0.0], [1], [8], [9]])
    layers = {"early": line, "late": pairs, "maps": pairs.reshape(4, 1, 1)}
    return core.study_from_features(layers, LABELS, out=tmp_path_factory.mktemp("journeys") / "study")


def test_the_nearest_at_every_layer_in_network_order(study):
    table = nearest_by_layer(study, "flat", "train")
    assert table["layer"].tolist() == ["early"] * 4 + ["late"] * 4 + ["maps"] * 4
    assert table["nearest"].tolist() == [2, 3, 0, 1, *[1, 0, 3, 2] * 2]
    assert table["agrees"].tolist() == [False] * 4 + [True] * 8


def test_layers_without_space_stand_for_means_too(study):
    assert nearest_by_layer(study, "mean", "train")["layer"].unique().tolist() == ["early", "late"]
    assert nearest_by_layer(study, "mean", "test").empty


def test_the_mean_of_agreement_is_si(study):
    agrees = agreement(nearest_by_layer(study, "flat", "train"))
    values = study.measurements.query("measure == 'separation'").set_index("layer")["value"]
    assert agrees.mean().to_dict() == {layer: values[layer] for layer in ("early", "late", "maps")}


def test_fates():
    agrees = pd.DataFrame(
        [[1, 1, 1], [0, 0, 0], [0, 1, 1], [1, 1, 0], [1, 0, 1]], columns=["one", "two", "three"], dtype=bool
    )
    table = fates(agrees)
    assert table["fate"].tolist() == ["always", "never", "gained", "lost", "gained"]
    assert table["first"].fillna("").tolist() == ["one", "", "two", "one", "one"]
    assert table["settled"].fillna("").tolist() == ["one", "", "two", "", "three"]
    assert table["share"].tolist() == pytest.approx([1, 0, 2 / 3, 2 / 3, 2 / 3])


def late_layers(nearest_of: dict[int, list[int]], distances: dict[int, float]) -> pd.DataFrame:
    """Neighbors at five late layers after two early ones, at which everyone's nearest is the fox."""
    names = SAMPLES["class_name"]
    rows = [
        {"layer": f"layer {at}", "sample": sample, "nearest": nearest, "distance": distances.get(sample, 2.0)}
        for at in range(7)
        for sample, late in nearest_of.items()
        for nearest in [5 if at < 2 else late[at - 2]]
    ]
    table = pd.DataFrame(rows)
    return table.assign(agrees=names[table["sample"]].to_numpy() == names[table["nearest"]].to_numpy())


def test_label_errors_are_what_the_late_layers_agree_on():
    nearest = late_layers(
        {0: [3, 4, 3, 4, 3], 1: [4] * 5, 2: [3, 3, 4, 1, 5], 3: [4] * 5, 4: [0, 0, 5, 5, 3]}, {1: 1.0}
    )
    table = label_errors(nearest, SAMPLES, at_least=0.8)
    assert table["id"].tolist() == ["v", "u"]  # both dogs at every late layer; v's neighbors are closer
    assert table["suggested"].tolist() == ["dog", "dog"]
    assert table["score"].tolist() == [1.0, 1.0]
    assert table["layers"].tolist() == [5, 5]
    assert table["distance"].tolist() == [0.5, 1.0]
    majorities = label_errors(nearest, SAMPLES)
    assert majorities["id"].tolist() == ["v", "u", "w"]
    assert majorities["score"].tolist() == [1.0, 1.0, 0.6]
    assert label_errors(nearest, SAMPLES, at_least=0.4)["id"].tolist() == ["v", "u", "w", "y"]  # each sample once
    with pytest.raises(ValueError, match="at_least must be more than 0 and at most 1; got 0"):
        label_errors(nearest, SAMPLES, at_least=0)


def test_the_end_of_a_network_is_read_as_far_as_neighbors_are_stored(tmp_path):
    layers = {f"layer {at}": np.arange(4.0)[:, None] * (at + 1) for at in range(9)}
    made = core.study_from_features(layers, LABELS, out=tmp_path / "study")
    asked = nearest_at_the_end(made, "mean", "train")
    assert asked["layer"].unique().tolist() == [f"layer {at}" for at in range(4, 9)]
    without_last = made.neighbors[~made.neighbors["layer"].isin(["layer 7", "layer 8"])]
    without_last.to_parquet(made.path / "neighbors.parquet")
    kept = nearest_at_the_end(core.load_study(made.path), "mean", "train")
    assert set(kept["layer"].unique()) >= {f"layer {at}" for at in range(2, 7)}
    whole = nearest_by_layer(core.load_study(made.path), "mean", "train")
    assert label_errors(kept, made.samples).equals(label_errors(whole, made.samples))


def test_no_neighbors_no_errors(study):
    assert label_errors(nearest_by_layer(study, "mean", "test"), study.samples).empty
