"""The page Decide: the advice, the cut slider, the bundled ranking, and their words."""

import numpy as np
import pandas as pd
import pytest

import core
from core.study.advice import advise, layers_before_head
from core.study.ranking import load_ranking
from core.study.results import load_study
from explorer.data import DEMO
from explorer.decide_charts import cut_chart, ranking_chart
from explorer.deciding import headline, interval, reason, verdict


@pytest.fixture(scope="module")
def advice():
    study = load_study(DEMO / "dogs")
    return advise(study, layers=layers_before_head(study))


def said(page):
    return " ".join(element.value for element in [*page.title, *page.markdown, *page.caption, *page.info])


def test_the_page_gives_the_advice_of_core(open_view, advice):
    page = open_view("decide", DEMO / "dogs")
    assert not page.exception
    assert page.title[0].value == headline(advice)
    assert reason(advice) in said(page)
    assert page.select_slider[0].value == advice.earliest
    assert "efficientnet-lite2" in said(page)


def test_the_slider_says_what_a_cut_costs_and_the_address_keeps_it(open_view, advice):
    page = open_view("decide", DEMO / "dogs")
    page.select_slider[0].set_value("block5b_add").run()
    row = advice.row("block5b_add")
    figures = {metric.label: metric.value for metric in page.metric}
    assert figures["SI there"] == f"{row['value']:.3f}"
    assert figures["Parameters saved"] == f"{row['parameters_saved']:.0%}"
    assert page.query_params["layer"] in ("block5b_add", ["block5b_add"])


def test_features_without_a_network_have_no_savings(open_view, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    layers = {"first": rng.normal(size=(60, 4)), "second": 5 * np.eye(3)[labels] + rng.normal(size=(60, 3))}
    core.study_from_features(layers, labels, out=tmp_path / "made")
    page = open_view("decide", tmp_path / "made")
    assert not page.exception
    assert page.title[0].value == "No earlier layer is as good as second"
    assert {metric.label: metric.value for metric in page.metric}["Parameters saved"] == "–"


def test_the_words_of_an_interval():
    row = pd.Series({"difference": -0.02, "difference_low": -0.05, "difference_high": 0.01})
    assert interval(row) == "-0.020 [-0.050, +0.010]"
    assert interval(pd.Series({"difference": 0.0})) == "the best"
    assert interval(row.replace(-0.05, np.nan)) == "-0.020, no interval"


def test_a_ranking_in_a_sentence():
    networks = pd.DataFrame(
        {
            "network": ["a", "b", "c"],
            "layer": "pool",
            "value": [0.5, 0.49, 0.2],
            "meaning": ["best", "tie", "certainly worse"],
        }
    )
    assert verdict(networks) == (
        "**a** separates these samples best: SI 0.500 at `pool`. Not to be told from it: b. Certainly worse: c."
    )


def test_the_charts_hold_every_layer(advice):
    drawn = cut_chart(advice.layers, advice.earliest)
    assert [row["layer"] for row in drawn["data"]["values"]] == advice.layers["layer"].tolist()
    ranking = load_ranking(DEMO / "ranking")
    drawn = ranking_chart(ranking.layers, ranking.networks["network"].tolist())
    assert sum(row["chosen"] for row in drawn["data"]["values"]) == len(ranking.networks)
