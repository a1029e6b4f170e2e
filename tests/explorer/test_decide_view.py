"""The page Decide: the advice, the cut slider, the bundled ranking, and their words."""

import json

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.cut.advice import advise, with_seconds
from core.analysis.cut.timings import load_timing
from core.analysis.ranking.ranking import load_ranking
from core.cli import main
from core.report.content import make_report
from core.report.words.class_losses import class_cost_text
from core.report.words.cut import difference_to_best_text, explanation, headline
from core.study.store.opening import load_study
from explorer.app_pages.decide.charts import cut_chart, ranking_chart
from explorer.app_pages.decide.tables import savings, share, verdict
from explorer.studies.loading import DEMO


@pytest.fixture(scope="module")
def advice():
    study = load_study(DEMO / "dogs")
    return with_seconds(advise(study), load_timing(study))


def said(page):
    return " ".join(element.value for element in [*page.title, *page.markdown, *page.caption, *page.info])


def test_the_page_gives_the_advice_of_core(open_view, advice):
    page = open_view("decide", DEMO / "dogs")
    assert not page.exception
    assert page.title[0].value == headline(advice)
    assert f"{explanation(advice)} {savings(advice.row(advice.recommended))}" in said(page)
    assert page.select_slider[0].value == advice.recommended
    assert "efficientnet-lite2" not in said(page)  # the bundled ranking is of other samples


def test_the_slider_says_what_a_cut_costs_and_the_address_keeps_it(open_view, advice):
    page = open_view("decide", DEMO / "dogs")
    page.select_slider[0].set_value("block5b_add").run()
    row = advice.row("block5b_add")
    figures = {metric.label: metric.value for metric in page.metric}
    assert figures["SI at the cut"] == f"{row['value']:.3f}"
    assert figures["Parameters saved"] == f"{row['parameters_saved']:.0%}"
    classes = class_cost_text(load_study(DEMO / "dogs"), advice, "block5b_add")
    assert "more than the tolerance" in classes
    assert classes in said(page)
    assert page.query_params["layer"] in ("block5b_add", ["block5b_add"])


def test_features_without_a_network_have_no_savings(open_view, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    layers = {"first": rng.normal(size=(60, 4)), "second": 5 * np.eye(3)[labels] + rng.normal(size=(60, 3))}
    core.study_from_features(layers, labels, out=tmp_path / "made")
    page = open_view("decide", tmp_path / "made")
    assert not page.exception
    assert page.title[0].value == "Cut at second, where SI is highest"
    assert {metric.label: metric.value for metric in page.metric}["Parameters saved"] == "–"


def test_the_linear_probe_is_shown_where_a_layer_has_one(open_view):
    label = "Linear probe, minus the best layer's"
    assert label in [metric.label for metric in open_view("decide", DEMO / "dogs").metric]
    assert label not in [metric.label for metric in open_view("decide", DEMO / "notebook").metric]  # all activations


@pytest.fixture(scope="module")
def one_class(tmp_path_factory):
    """Studies whose test samples are of one class: beside training samples of three, and alone."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("one class")
    labels = np.concatenate([np.repeat([0, 1, 2], 20), np.ones(20, dtype=int)])
    layers = {name: 5 * np.eye(3)[labels] + rng.normal(size=(80, 3)) for name in ("first", "second")}
    splits = ["train"] * 60 + ["test"] * 20
    core.study_from_features(layers, labels, out=folder / "both", splits=splits)
    alone = {name: features[60:] for name, features in layers.items()}
    core.study_from_features(alone, labels[60:], out=folder / "alone", splits=["test"] * 20)
    return folder


@pytest.mark.parametrize("name", ["both", "alone"])
@pytest.mark.parametrize("view", ["layers", "samples", "classes", "decide", "compare", "sample_size"])
def test_no_page_fails_on_test_samples_of_one_class(open_view, one_class, view, name):
    page = open_view(view, one_class / name)
    assert not page.exception
    if name == "alone" and view in ("layers", "decide"):
        assert page.title[0].value.startswith("All 20 test samples are of one class")


def test_layers_decide_and_report_conclude_nothing_from_tied_activations(open_view, tmp_path):
    """Noise of five and of twenty values: each sample has many others at distance 0."""
    rng = np.random.default_rng(0)
    layers = {name: np.eye(count)[rng.integers(0, count, 200)] for name, count in {"a": 5, "b": 20}.items()}
    core.study_from_features(layers, rng.integers(0, 4, 200), out=tmp_path / "tied")
    many = "many samples have several nearest neighbors at the same distance"
    assert open_view("layers", tmp_path / "tied").title[0].value == f"No conclusion: {many}"
    assert open_view("decide", tmp_path / "tied").title[0].value == f"No layer is recommended: {many}"
    report = make_report(tmp_path / "tied")
    assert report.finding.headline == f"No conclusion: {many}"
    assert "of the samples have several neighbors at exactly the same smallest distance" in " ".join(report.cautions)


def test_training_samples_of_several_classes_lead_before_test_samples_of_one(one_class):
    report, advice = make_report(one_class / "both"), advise(load_study(one_class / "both"))
    assert "training samples" in report.finding.detail
    assert "All 20 samples of the split test are of one class" in report.cautions[0]
    assert advice.split == "train"
    alone = advise(load_study(one_class / "alone"))
    assert headline(alone) == "All 20 test samples are of one class: SI is 1 by construction"
    assert explanation(alone) == "SI cannot distinguish between layers. Take samples of at least two classes."
    assert make_report(one_class / "alone").finding.headline == "All 20 test samples are of one class"


@pytest.mark.parametrize("name", ["dogs", "digits", "notebook", "digits-training", "dogs-untrained"])
def test_layers_decide_report_and_command_name_the_same_layer(open_view, capsys, name):
    advice = advise(load_study(DEMO / name))
    assert open_view("decide", DEMO / name).title[0].value == headline(advice)
    assert explanation(advice) in said(open_view("layers", DEMO / name)).replace(":small[", "")
    assert f"**Where it is good enough.** {explanation(advice)}" in make_report(DEMO / name).findings
    assert main(["cut", str(DEMO / name), "--no-timing", "--json"]) in (0, 1)  # 1: the network is not at hand here
    told = capsys.readouterr().out
    if told:
        assert json.loads(told)["recommended"] == advice.recommended


def test_the_tolerance_is_the_users_and_goes_along_to_the_other_pages(open_view):
    study = load_study(DEMO / "digits")
    page = open_view("decide", DEMO / "digits", samples=["cross"])
    tolerance = next(one for one in page.number_input if one.label == "Tolerance")
    assert tolerance.value == 0.03
    tolerance.set_value(0.1).run()
    assert page.title[0].value == headline(advise(study, tolerance=0.1))
    assert page.query_params["tolerance"] in ("0.1", ["0.1"])
    wide = open_view("layers", DEMO / "digits", tolerance="0.1")
    assert explanation(advise(study, tolerance=0.1)) in said(wide)


@pytest.mark.parametrize("tolerance", ["nan", "-1", "7", "0", "x", ""])
def test_a_tolerance_that_is_none_in_the_address_counts_as_the_default(open_view, tolerance):
    page = open_view("decide", DEMO / "digits", tolerance=tolerance)
    assert not page.exception
    assert next(one for one in page.number_input if one.label == "Tolerance").value == 0.03


def test_the_slider_follows_the_recommendation_until_it_is_moved(open_view):
    study = load_study(DEMO / "digits")
    wide = {name: advise(study, measure=name, tolerance=0.1) for name in ("separation", "cross")}
    assert wide["separation"].target != wide["cross"].target
    page = open_view("decide", DEMO / "digits", tolerance="0.1")
    assert page.select_slider[0].value == wide["separation"].target
    samples = next(one for one in page.segmented_control if one.label == "Samples")
    samples.set_value("cross").run()
    assert page.title[0].value == headline(wide["cross"])
    assert page.select_slider[0].value == wide["cross"].target
    page.select_slider[0].set_value("block2b_add").run()
    next(one for one in page.segmented_control if one.label == "Samples").set_value("test").run()
    assert page.select_slider[0].value == "block2b_add"


def test_the_words_of_an_interval():
    row = pd.Series({"difference": -0.02, "difference_low": -0.05, "difference_high": 0.01})
    assert difference_to_best_text(row) == "-0.020 [-0.050, +0.010]"
    assert difference_to_best_text(row.replace(-0.05, np.nan)) == "-0.020, no interval"


NETWORKS = pd.DataFrame(
    {
        "network": ["a", "b", "c"],
        "layer": "pool",
        "value": [0.5, 0.49, 0.2],
        "low": [0.45, 0.44, 0.15],
        "high": [0.55, 0.54, 0.25],
        "difference": [0.0, -0.01, -0.3],
        "difference_low": [np.nan, -0.04, -0.35],
        "difference_high": [np.nan, 0.02, -0.25],
        "verdict": ["best", "tie", "certainly worse"],
    }
)


def test_a_ranking_in_sentences_with_intervals_and_samples():
    assert verdict(NETWORKS, "300 test samples") == (
        "Of these networks **a** has the highest SI, 0.500 [0.450, 0.550] at `pool`, but 300 test samples cannot "
        "decide whether it is better than b (-0.010 [-0.040, +0.020]). "
        "Certainly worse: c (-0.300 [-0.350, -0.250])."
    )
    assert verdict(NETWORKS.iloc[[0, 2]], "300 test samples") == (
        "**a** separates these samples best: SI 0.500 [0.450, 0.550] at `pool`, 300 test samples. "
        "Certainly worse: c (-0.300 [-0.350, -0.250])."
    )


def test_a_ranking_of_the_study_s_own_samples_is_shown(open_view):
    page = open_view("decide", DEMO / "ranking" / "efficientnet-lite0")
    assert "**efficientnet-lite2** separates these samples best: SI 0.7" in said(page)
    assert "1,800 test samples. Certainly worse: efficientnet-lite1 (-0.0" in said(page)
    assert "example" not in said(page)


@pytest.mark.parametrize("name", ["dogs", "dogs-untrained", "digits"])
def test_a_ranking_of_other_samples_is_an_example_and_named_so(open_view, name):
    page = open_view("decide", DEMO / name)
    assert "There is no ranking on this study's samples yet." in said(page)
    assert "best: SI" not in said(page)
    page.session_state[f"decide example of {DEMO / name}"] = True
    page.run()
    assert not page.exception
    assert f"**An example: this is not about {name}.**" in said(page)
    assert "**efficientnet-lite2** separates these samples best" in said(page)


def test_the_command_that_ranks_networks_is_one_for_the_study(open_view, tmp_path):
    page = open_view("decide", DEMO / "digits")
    command = next(one.value for one in page.code if " rank " in one.value)
    assert command.startswith("python -m core rank digits --out ranking --models efficientnet-lite0,")
    core.study_from_features({"one": np.eye(6)}, [0, 0, 0, 1, 1, 1], out=tmp_path / "made")
    page = open_view("decide", tmp_path / "made")
    command = next(one.value for one in page.code if " rank " in one.value)
    assert "--features A=A.npz --features B=B.npz" in command
    assert "--models" not in command


def drawn_rows(chart, column):
    """The rows of the largest table with a column, in a chart that the schema accepts."""
    tables = [rows for rows in chart.to_dict(validate=True)["datasets"].values() if column in rows[0]]
    return max(tables, key=len)


def test_the_charts_hold_every_layer(advice):
    rows = drawn_rows(cut_chart(advice.layers, advice.recommended, advice.tolerance), "meaning")
    assert [row["layer"] for row in rows] == advice.layers["layer"].tolist()
    spec = cut_chart(advice.layers, advice.recommended, advice.tolerance).to_dict()
    colors = next(layer["encoding"]["color"] for layer in spec["layer"] if "color" in layer["encoding"])
    assert colors["scale"]["domain"][2] == "within the tolerance"  # the third color, a green
    ranking = load_ranking(DEMO / "ranking")
    rows = drawn_rows(ranking_chart(ranking.layers, ranking.networks["network"].tolist()), "milliseconds")
    assert [len(rows), sum(row["chosen"] for row in rows)] == [len(ranking.layers), len(ranking.networks)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0%"), (0.0004, "<1%"), (0.006, "1%"), (0.27, "27%"), (0.999, ">99%"), (1, "100%"), (float("nan"), "–")],
)
def test_nothing_is_saved_in_full_or_not_at_all_by_rounding(value, expected):
    assert share(value) == expected
