"""What a cut costs single classes: a class that falls apart while the mean hardly moves, and what is not decided."""

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.curves import measured_layers, tidy_curves
from core.analysis.cut.advice import advise
from core.analysis.cut.class_losses import class_differences
from core.analysis.separation_level import lead_curve
from core.measures.paired import paired_difference
from core.report.words.cards import make_cards
from core.report.words.class_losses import class_cost_text, class_losses_text

CLASSES, EACH = 10, 60
LABELS = np.repeat(np.arange(CLASSES), EACH)
NAMES = [f"class {label}" for label in LABELS]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """At `late` all classes are apart. At `early` the first one is spread among the others, the rest is as good."""
    rng = np.random.default_rng(0)
    late = 50 * np.eye(CLASSES)[LABELS] + rng.normal(size=(len(LABELS), CLASSES))
    early = late.copy()
    early[:EACH] = 50 * np.eye(CLASSES)[1 + np.arange(EACH) % (CLASSES - 1)] + rng.normal(size=(EACH, CLASSES))
    out = tmp_path_factory.mktemp("losses") / "study"
    return core.study_from_features({"early": early, "late": late}, NAMES, out=out)


def test_the_difference_of_a_class_is_paired_on_its_samples_and_corrected(study):
    table = class_differences(study, advise(study), "early")
    assert len(table) == CLASSES
    assert (table["num_samples"] == EACH).all()
    worst = table.iloc[0]
    assert worst["class_name"] == "class 0"
    rows = study.table("neighbors", filters=[("rank", "==", 1)])
    sides = [rows[(rows["layer"] == layer) & (rows["sample"] < EACH)] for layer in ("late", "early")]
    nodes = [side[["sample", "nearest"]] for side in sides]
    scores = [side["same_label"] for side in sides]
    expected = paired_difference(*scores, NAMES[:EACH], nodes_before=nodes[0], nodes_after=nodes[1])
    assert worst["difference"] == pytest.approx(scores[1].mean() - scores[0].mean())
    assert (worst["low"], worst["high"]) == pytest.approx(expected.exact_interval(1 - 0.05 / CLASSES))


def test_a_class_that_loses_more_than_the_tolerance_is_named(study):
    advice = advise(study, tolerance=0.3)
    assert advice.recommended == "early"  # the mean loses less than that
    text = class_cost_text(study, advice, "early")
    assert text.startswith("One class certainly loses more than the tolerance: **class 0**, -")
    assert text.endswith("(60 samples; 95%, corrected for 10 classes).")
    assert class_cost_text(study, advice, "late") == ""  # the best itself
    curve = lead_curve(tidy_curves(measured_layers(study), study.measurements))
    assert make_cards(study, curve, 0.3)[0].text.endswith(text)
    assert "class certainly loses" not in make_cards(study, curve, 0.03)[0].text  # it is at the best layer


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("a", 40, -0.5, -0.7, -0.3), ("b", 40, -0.4, -0.5, -0.2), ("c", 40, 0.0, -0.1, 0.1)],
            "2 classes certainly lose more than the tolerance, most certainly **a**, -0.500 [-0.700, -0.300] "
            "(40 samples; 95%, corrected for 3 classes).",
        ),
        (
            [("a", 1, -1.0, -1.0, 0.3), ("b", 40, 0.0, -0.05, 0.1)],
            "Whether a class loses more than the tolerance cannot be decided: the lowest difference is that of **a**, "
            "-1.000 [-1.000, +0.300] (1 sample; 95%, corrected for 2 classes).",
        ),
        (
            [("a", 900, -0.01, -0.05, 0.03), ("b", 900, 0.0, -0.04, 0.04)],
            "It is certain that no class loses more than the tolerance: the lowest difference is that of **a**, -0.010 "
            "[-0.050, +0.030] (900 samples; 95%, corrected for 2 classes).",
        ),
    ],
)
def test_the_words(rows, expected):
    table = pd.DataFrame(rows, columns=["class_name", "num_samples", "difference", "low", "high"])
    assert class_losses_text(table, 0.1) == expected
