"""Two classes through the network, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from core.analysis.samples.class_pairs import first_separated_layer, pair_causes, pair_curve

NAMES = pd.Series(["ant", "ant", "bee", "bee", "cow", "cow"])


def nearest_of(*layers: list[int]) -> pd.DataFrame:
    """The nearest neighbor of each sample at layers named 0, 1, ..."""
    return pd.DataFrame(
        [
            {"layer": str(at), "sample": sample, "nearest": nearest, "distance": 1.0 + at}
            for at, layer in enumerate(layers)
            for sample, nearest in enumerate(layer)
        ]
    )


# ants and bees: 0 at first, then 0→2, 3→1; then 0→2 alone; then parted; cows never matter.
NEAREST = nearest_of([4, 0, 3, 2, 5, 4], [2, 0, 3, 1, 0, 2], [2, 0, 4, 2, 5, 4], [1, 0, 3, 2, 5, 4])


def test_the_curve_of_a_pair():
    table = pair_curve(NEAREST, NAMES, "ant", "bee")
    assert table["layer"].tolist() == ["0", "1", "2", "3"]
    assert table["count"].tolist() == [0, 2, 1, 0]
    assert table["total"].tolist() == [4] * 4
    assert table["share"].tolist() == [0, 0.5, 0.25, 0]
    assert table["own"].tolist() == [0.75, 0.5, 0.5, 1]  # at layer 1 of 1→0 and 2→3
    assert table["chance"].tolist() == pytest.approx([2 / 5] * 4)  # two bees among the five others of an ant
    assert pair_curve(NEAREST, NAMES, "bee", "ant").equals(table)


def test_chance_counts_the_possible_neighbors():
    training = pd.Series(["bee", "bee", "bee", "ant", "cow"], index=range(10, 15))
    across = NEAREST.assign(nearest=10)
    chance = pair_curve(across, pd.concat([NAMES, training]), "ant", "bee", possible=training)["chance"]
    assert chance.iloc[0] == pytest.approx((2 * 3 + 2 * 1) / 5 / 4)


def test_chance_is_what_permuted_labels_give():
    rng = np.random.default_rng(0)
    names = pd.Series(rng.choice(["ant", "bee", "cow"], 60, p=[0.5, 0.3, 0.2]))
    nearest = nearest_of([int((sample + 1 + rng.integers(59)) % 60) for sample in range(60)])
    shares = []
    for _ in range(300):
        permuted = pd.Series(rng.permutation(names))
        shares.append(pair_curve(nearest, permuted, "ant", "bee")["share"].iloc[0])
    assert np.mean(shares) == pytest.approx(pair_curve(nearest, names, "ant", "bee")["chance"].iloc[0], abs=0.02)


@pytest.mark.parametrize(
    ("counts", "layer"),
    [([0, 2, 1, 0], "3"), ([0, 2, 0, 0], "2"), ([0, 0, 0, 0], "0"), ([0, 0, 0, 1], None), ([3, 0, 1, 1], None)],
)
def test_the_layer_from_which_on_a_pair_is_parted(counts, layer):
    assert first_separated_layer(pd.DataFrame({"layer": list("0123"), "count": counts})) == layer


def test_who_causes_it():
    table = pair_causes(NEAREST, NAMES, "ant", "bee", "1")
    assert table["sample"].tolist() == [0, 3]  # 0 at two layers, 3 at one
    assert table["nearest"].tolist() == [2, 1]
    assert table["class_name"].tolist() == ["ant", "bee"]
    assert table["nearest_class"].tolist() == ["bee", "ant"]
    assert table["layers"].tolist() == [2, 1]
    assert table["share"].tolist() == [0.5, 0.25]
    assert pair_causes(NEAREST, NAMES, "ant", "bee", "3").empty


@pytest.mark.parametrize(
    ("first", "second", "message"), [("ant", "wasp", "second must be a class"), ("ant", "ant", "two classes")]
)
def test_a_pair_is_two_classes_of_the_study(first, second, message):
    with pytest.raises(ValueError, match=message):
        pair_curve(NEAREST, NAMES, first, second)
