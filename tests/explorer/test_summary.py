"""What the cards of the first page say, on neighbors written by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core.analysis.samples.class_pairs import pair_curve
from core.analysis.samples.class_values import class_names, class_values, ranked_classes
from core.analysis.samples.neighborhoods import confused_pairs, read_nearest
from core.analysis.samples.paths import nearest_by_layer
from core.analysis.samples.selection import layers_with_neighbors
from core.analysis.separation_level import lead_curve
from core.report.content import make_report
from core.report.words.cards import NOT_STORED, check_card_text, make_cards, unseparated_text
from core.report.words.formatting import plain
from core.report.words.samples_to_check import TOO_FEW
from core.study.store.opening import StudyError, load_study
from core.study.store.tables.class_names import sample_classes, short_classes
from core.study.store.writing import begin, end, write_layer
from explorer.studies.class_tables import classes_finding, layer_selection
from explorer.studies.loading import DEMO, read_study

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
        neighbors = pd.DataFrame({"sample": np.arange(SAMPLES), "nearest": nearest, "same_label": agrees})
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
    row |= {
        "repeat": 0,
        "sampling": "full",
        "num_queries": SAMPLES,
        "chance": 0.3,
        "target": "population",
        "metric": "euclidean",
        "ties": "first",
    }
    return pd.DataFrame([row | {"value": value, "low": max(value - 0.1, 0), "high": min(value + 0.1, 1)}])


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
            "chance": 19 / 59,
        }
    )


def agreeing(count: int) -> np.ndarray:
    return np.arange(SAMPLES) < count


@pytest.fixture
def agreements() -> list[np.ndarray]:
    """Far below the best, nearly the best twice, the best, below it."""
    return [agreeing(10), agreeing(49), agreeing(50), agreeing(51), agreeing(45)]


def test_the_card_tells_the_earliest_layer_within_the_tolerance(tmp_path, agreements):
    study = load_study(write_neighbors(tmp_path / "study", agreements))
    text = make_cards(study, curve_of(agreements), tolerance=0.2)[0].text
    assert "SI is highest at `layer4`: **0.85** (60 test samples, chance 0.30)" in text
    assert "`layer2`, **0.82**, is the earliest layer that is certain to be within 0.2 of the best" in text


def test_the_card_recommends_nothing_where_the_samples_cannot_decide(tmp_path, agreements):
    study = load_study(write_neighbors(tmp_path / "study", agreements))
    text = make_cards(study, curve_of(agreements))[0].text
    assert "No layer is certain to be within 0.03 of the best one" in text
    assert "What would decide: about" in text


def test_only_the_layers_of_the_curve_are_compared(tmp_path, agreements):
    study = load_study(write_neighbors(tmp_path / "study", agreements))
    text = make_cards(study, curve_of(agreements).iloc[2:], tolerance=0.2)[0].text
    assert "`layer3`, **0.83**, is the earliest" in text
    assert "corrected for 3 layers" in text


def test_without_neighbors_the_two_intervals_decide_and_it_is_said(tmp_path, agreements):
    folder = write_neighbors(tmp_path / "none", agreements)
    (folder / "neighbors.parquet").unlink()
    cards = make_cards(load_study(folder), curve_of(agreements), tolerance=0.25)
    assert "`layer2`" in cards[0].text
    assert "not paired, since the study stores no neighbors" in cards[0].text
    assert "stores no neighbors" in cards[1].text


def test_the_best_layer_may_be_the_first(tmp_path):
    rising = [agreeing(60), agreeing(10)]
    cards = make_cards(load_study(write_neighbors(tmp_path / "study", rising)), curve_of(rising))
    assert cards[0].text == (
        "SI is highest at `layer1`: **1.00** (60 test samples, chance 0.30). No candidate comes before it."
    )


def test_the_most_confused_classes(tmp_path):
    wrong = [~((LABELS == 1) & (np.arange(SAMPLES) < 30))]
    card = make_cards(load_study(write_neighbors(tmp_path / "study", wrong)), curve_of(wrong))[1]
    # 20 samples of each of three classes: a terrier has 20 pugs among the 59 others, so 40 · 20/59 of both by chance
    assert card.text == (
        r"**pug** and **toy\_terrier**: 10 of their 40 samples have their nearest neighbor in the other class, at "
        "`layer1`, more than of any other pair; meaningless labels would give 13.56."
    )
    assert [name for _, name in card.pictures] == ["pug", "toy_terrier"]


def test_classes_left_at_chance_are_named_where_the_others_are_apart(tmp_path):
    """Two of three classes are always right, 40 of 60 samples; the third never is, which SI does not show."""
    agrees = [LABELS != 2]
    folder = write_neighbors(tmp_path / "study", agrees)
    rows = pd.DataFrame({"label": [0, 1, 2], "value": [1.0, 1.0, 0.0], "num_queries": 20, "chance": 0.3})
    rows = rows.assign(split="test", layer="layer1", pooling="mean", measure="separation", order=1)
    study = load_study(folder)
    with_classes = SimpleNamespace(classes=rows, samples=study.samples)
    assert unseparated_text(with_classes, curve_of(agrees), "layer1") == (
        "**1 of 3 classes is not separated** there, with an SI at chance: pug."
    )
    assert unseparated_text(SimpleNamespace(classes=rows[:2], samples=study.samples), curve_of(agrees), "layer1") == ""
    few = [np.arange(SAMPLES) < 20]  # SI 0.33, chance 0.3: nothing is separated, and nobody says so
    assert unseparated_text(with_classes, curve_of(few), "layer1") == ""


def test_pairs_that_are_confused_as_often_are_counted(tmp_path):
    wrong = [~np.isin(np.arange(SAMPLES), [0, 1, 2])]  # each class once beside the next
    card = make_cards(load_study(write_neighbors(tmp_path / "study", wrong)), curve_of(wrong))[1]
    assert "1 of their 40 samples have their nearest neighbor in the other class" in card.text
    assert "as many as of 2 other pairs" in card.text


def test_no_class_is_confused_where_all_agree(tmp_path):
    """Neighbors are stored; that they say nothing is another thing."""
    study = load_study(write_neighbors(tmp_path / "study", [agreeing(SAMPLES)]))
    card = make_cards(study, curve_of([agreeing(SAMPLES)]))[1]
    assert card.text == "At `layer1` no sample's nearest neighbor is of another class."
    assert card.pictures == ()


@pytest.mark.parametrize("name", ["digits", "dogs", "dogs-tuned", "dogs-untrained"])
def test_all_doors_name_the_same_pair_and_number(name):
    study = read_study(DEMO / name)
    tables, lead = load_study(DEMO / name), lead_curve(study.curves)
    card = make_cards(tables, lead)[1].text
    place = layer_selection({}, None, study.curves, layers_with_neighbors(tables))
    pairs = confused_pairs(tables, place.layer, place.pooling, place.split, among=place.among)
    words = short_classes(sample_classes(tables.samples))
    pairs = pairs.assign(first=pairs["first"].map(words), second=pairs["second"].map(words))
    ranked = ranked_classes(class_values(tables.classes, study.layers, class_names(tables.samples), place), place.layer)
    assert classes_finding(ranked, pairs, place).endswith(f"Most confused: {card}")
    report = make_report(DEMO / name)
    assert f"**Most confused classes.** {card}" in report.findings
    (section,) = [one for one in report.sections if one.title == "Class by class"]
    assert f"`{place.layer}`" in section.text
    (table,) = [one for one in section.tables if one.title == "Most confused classes"]
    first = table.frame.iloc[0]
    told = (
        f"**{plain(first.iloc[0])}** and **{plain(first.iloc[1])}**: {first.iloc[2]} of their {first.iloc[3]} samples"
    )
    assert card.startswith(told)
    names = tables.samples.set_index("sample")["class_name"].map(words)
    nearest = nearest_by_layer(tables, place.pooling, place.split, among=place.among)
    at = pair_curve(nearest, names, first.iloc[0], first.iloc[1]).set_index("layer").loc[place.layer]
    assert [f"{at[name]:.0f}" for name in ("count", "total")] == [
        first.iloc[2],
        first.iloc[3],
    ]  # as the pair's own curve counts


def test_samples_to_check_have_no_support_for_their_label(tmp_path, agreements):
    study = load_study(write_neighbors(tmp_path / "study", agreements))
    text = check_card_text(study, curve_of(agreements))
    assert text.startswith("**6** of 60 test samples")  # rows 54 to 59: 48 to 50 stand up for 51 to 53
    assert text.endswith(TOO_FEW)
    assert check_card_text(study, curve_of(agreements).assign(samples="cross")) == NOT_STORED


def test_only_the_asked_layers_are_read_in_the_order_of_samples(tmp_path, agreements):
    study = load_study(write_neighbors(tmp_path / "study", agreements))
    nearest = read_nearest(study, ["layer2"], "mean", "test")
    assert list(nearest) == ["layer2"]
    assert nearest["layer2"]["sample"].to_list() == list(range(SAMPLES))
    assert "neighbors" not in vars(study)
    assert read_nearest(study, [], "mean", "test") == {}
    with pytest.raises(StudyError, match=r"layer must be one .* got 'nowhere'"):
        read_nearest(study, ["layer2", "nowhere"], "mean", "test")
