"""Which measure is drawn, and over which samples."""

import pandas as pd
import pytest

from core.analysis.curves import CURVE_COLUMNS
from explorer.app_pages.layers.measure_options import (
    chosen_curves,
    measure_title,
    offered_measures,
    offered_samplings,
    sampling_title,
    short_title,
)
from explorer.state.measures import FULL, SEPARATION, Measure, Sampling
from explorer.studies.loading import read_fitted, read_study


@pytest.fixture
def family_study(study_writer, sized_info, tmp_path):
    """The tiny study with sizes and two more measures: balanced, and soft of two orders."""

    def change(frame):
        frame = sized_info["change"](frame)
        full = frame[(frame["measure"] == "separation") & (frame["repeat"] == 0)]
        more = [("balanced", 1), ("soft", 2), ("soft", 10)]
        others = [full.assign(measure=name, order=order, value=full["value"] / 2) for name, order in more]
        return pd.concat([frame, *others], ignore_index=True)

    return read_study(study_writer(tmp_path / "family", **{**sized_info, "change": change}))


def test_what_a_study_offers_in_order(family_study):
    assert offered_measures(family_study) == (SEPARATION, Measure("balanced"), Measure("soft", 2), Measure("soft", 10))
    sizes = (240, 480, 960)
    expected = (FULL, *(Sampling("subsample", size) for size in sizes), *(Sampling("queries", size) for size in sizes))
    assert offered_samplings(family_study) == expected


def test_a_study_without_more_offers_only_separation(tiny_study):
    study = read_study(tiny_study)
    assert offered_measures(study) == (SEPARATION,)
    assert offered_samplings(study) == (FULL,)
    assert chosen_curves(study, SEPARATION, FULL) is study.curves


def test_another_measure_takes_the_place_of_si_and_the_baseline_stays(family_study):
    curves = chosen_curves(family_study, Measure("soft", 10), FULL)
    assert list(curves.columns) == CURVE_COLUMNS
    assert set(curves["measure"]) == {"SI", "kNN"}
    keys = ["layer", "samples", "pooling"]
    halves = curves[curves["measure"] == "SI"].set_index(keys)["value"] * 2
    whole = family_study.curves
    whole = whole[(whole["measure"] == "SI") & (whole["samples"] != "cross")].set_index(keys)["value"]
    pd.testing.assert_series_equal(halves.sort_index(), whole.sort_index())


@pytest.mark.parametrize(
    ("sampling", "references"), [(Sampling("subsample", 480), 479), (Sampling("queries", 480), 1200)]
)
def test_draws_become_their_mean_between_the_lowest_and_the_highest(family_study, sampling, references):
    curves = chosen_curves(family_study, SEPARATION, sampling)
    assert list(curves.columns) == CURVE_COLUMNS
    assert ((curves["low"] <= curves["value"]) & (curves["value"] <= curves["high"])).all()
    assert set(curves["num_queries"]) == {480}
    assert set(curves["num_references"]) == {references}
    assert set(curves["target"]) == {"draws"}


def test_titles():
    assert (measure_title(Measure("soft", 3)), measure_title(Measure("balanced"))) == ("Soft SI (r = 3)", "Balanced SI")
    assert (short_title(SEPARATION), short_title(Measure("soft", 3))) == ("SI", "Soft SI (r = 3)")
    assert [sampling_title(name) for name in (FULL, Sampling("subsample", 1200), Sampling("queries", 50))] == [
        "All samples",
        "1,200 samples",
        "50 queries",
    ]


def test_a_study_without_fitted_curves_has_none(tiny_study):
    assert read_fitted(tiny_study).empty
