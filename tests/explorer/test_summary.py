"""What the cards of the first page say, on neighbors written by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.study.neighborhoods import read_nearest
from core.study.results import StudyError, load_study
from core.study.summary import (
    confused_text,
    count_label_errors,
    make_cards,
    most_confused,
)
from core.study.writing import begin, end, write_layer

SAMPLES = 60
LABELS = np.arange(SAMPLES) % 3


def write_neighbors(folder: Path, agreements: list[np.ndarray]) -> Path:
    """A study of three classes, a layer for each of `agreements`; who disagrees has the next class as its nearest."""
    folder.mkdir()
    samples = pd.DataFrame({"sample": np.arange(SAMPLES), "split": "test", "label": LABELS})
    names = ["n02085620-Chihuahua", "toy_terrier", "pug"]
    samples = samples.assign(id=samples["sample"].astype(str), class_name=[names[label] for label in LABELS], source="")
    info = begin(folder, {}, samples)
    for position, agrees in enumerate(agreements, start=1):
        nearest = (np.arange(SAMPLES) + np.where(agrees, 3, 1)) % SAMPLES
        neighbors = pd.DataFrame({"sample": np.arange(SAMPLES), "nearest": nearest, "agrees": agrees})
        neighbors = neighbors.assign(
            split="test", layer=f"layer{position}", pooling="mean", rank=1, nearest_split="test", distance=1.0
        )
        row = {"position": position, "layer": f"layer{position}", "kind": "", "block": "", "output_shape": [2, 2, 1]}
        tables = {"layers": pd.DataFrame([row]), "neighbors": neighbors, "measurements": measured(agrees, position)}
        write_layer(folder, position, tables)
    end(folder, info, complete=True)
    return folder


def measured(agrees: np.ndarray, position: int) -> pd.DataFrame:
    value = float(agrees.mean())
    row = {"split": "test", "layer": f"layer{position}", "pooling": "mean", "measure": "separation", "order": 1}
    row |= {"repeat": 0, "sampling": "full", "target": "population", "metric": "euclidean", "ties": "first"}
    return pd.DataFrame([row | {"value": value, "low": value - 0.1, "high": value + 0.1}])


def curve_of(agreements: list[np.ndarray]) -> pd.DataFrame:
    values = np.array([agrees.mean() for agrees in agreements])
    return pd.DataFrame(
        {
            "layer": [f"layer{position}" for position in range(1, len(values) + 1)],
            "position": np.arange(1, len(values) + 1),
            "value": values,
            "low": values - 0.1,
            "high": values + 0.1,
            "samples": "test",
            "pooling": "mean",
            "num_queries": SAMPLES,
        }
    )


def agreeing(count: int) -> np.ndarray:
    return np.arange(SAMPLES) < count


@pytest.fixture
def agreements() -> list[np.ndarray]:
    """Far below the best, nearly the best twice, the best, below it."""
    return [agreeing(10), agreeing(49), agreeing(50), agreeing(51), agreeing(45)]


def test_the_card_tells_the_earliest_equal_layer(tmp_path, agreements):
    cards = make_cards(load_study(write_neighbors(tmp_path / "study", agreements)), curve_of(agreements))
    assert "Best: `layer4`, SI **0.85**" in cards[0].text
    assert "cannot be told from it: `layer2`" in cards[0].text
    assert "95 %, paired" in cards[0].text


def test_only_the_layers_of_the_curve_are_asked(tmp_path, agreements):
    cards = make_cards(load_study(write_neighbors(tmp_path / "study", agreements)), curve_of(agreements).iloc[2:])
    assert "cannot be told from it: `layer3`" in cards[0].text


def test_without_neighbors_the_two_intervals_decide_and_it_is_said(tmp_path, agreements):
    folder = write_neighbors(tmp_path / "none", agreements)
    (folder / "neighbors.parquet").unlink()
    cards = make_cards(load_study(folder), curve_of(agreements))
    assert "`layer2`" in cards[0].text
    assert "no neighbors are stored" in cards[0].text
    assert "stores no neighbors" in cards[1].text


def test_the_best_layer_may_be_the_first(tmp_path):
    rising = [agreeing(60), agreeing(10)]
    cards = make_cards(load_study(write_neighbors(tmp_path / "study", rising)), curve_of(rising))
    assert cards[0].text == "Best: `layer1`, SI **1.00**. No earlier layer is statistically equal."


def test_the_most_confused_classes(tmp_path):
    wrong = [~((LABELS == 1) & (np.arange(SAMPLES) < 30))]
    pair = most_confused(load_study(write_neighbors(tmp_path / "study", wrong)), curve_of(wrong), "layer1")
    assert (pair.first, pair.second, pair.count, pair.total) == ("pug", "toy_terrier", 10, 40)
    assert pair.example == (2, 1)  # the pug that is nearest to the first wrong terrier
    assert confused_text(pair).startswith(r"**pug** and **toy\_terrier**: 10 of their 40")


def test_no_class_is_confused_where_all_agree(tmp_path):
    study = load_study(write_neighbors(tmp_path / "study", [agreeing(SAMPLES)]))
    assert most_confused(study, curve_of([agreeing(SAMPLES)]), "layer1") is None


def test_label_errors_have_no_support_for_their_label(tmp_path, agreements):
    study = load_study(write_neighbors(tmp_path / "study", agreements))
    assert count_label_errors(study, curve_of(agreements)) == 6  # rows 54 to 59: 48 to 50 stand up for 51 to 53
    assert count_label_errors(study, curve_of(agreements).assign(samples="cross")) is None


def test_only_the_asked_layers_are_read_in_the_order_of_samples(tmp_path, agreements):
    study = load_study(write_neighbors(tmp_path / "study", agreements))
    nearest = read_nearest(study, ["layer2"], "mean", "test")
    assert list(nearest) == ["layer2"]
    assert nearest["layer2"]["sample"].to_list() == list(range(SAMPLES))
    assert "neighbors" not in vars(study)
    assert read_nearest(study, [], "mean", "test") == {}
    with pytest.raises(StudyError, match=r"layer must be one .* got 'nowhere'"):
        read_nearest(study, ["layer2", "nowhere"], "mean", "test")
