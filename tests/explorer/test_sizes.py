"""SI over sample size: choices, lines, and what is said of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.analysis.samples.selection import offered_poolings
from explorer.app_pages.sample_size.charts import size_chart, size_top
from explorer.app_pages.sample_size.tables import (
    SizeSelection,
    extrapolation_finding,
    first_layers,
    fitted_lines,
    offered_layers,
    offered_samples,
    precision_finding,
    size_ends,
    size_finding,
    size_lines,
    size_query,
    size_selection,
    suggested_command,
    suggested_sizes,
)
from explorer.studies.loading import SUBSAMPLE_COLUMNS, read_study


@pytest.fixture
def sized(sized_study):
    return read_study(sized_study)


def row(sampling, size, repeat, value, *, low=np.nan, high=np.nan):
    """A row of `OpenStudy.subsamples`, of one layer."""
    fixed = {"layer": "a", "position": 1, "samples": "test", "pooling": "mean", "num_references": 9, "chance": 0.1}
    drawn = {"sampling": sampling, "num_queries": size, "repeat": repeat, "value": value, "low": low, "high": high}
    return {**fixed, **drawn}


def study_of(sized, rows, *, full=0.8):
    """A study of one layer `a` with these subsamples, all 400 samples scoring `full`."""
    curve = sized.curves[:1].assign(
        layer="a", position=1, measure="SI", samples="test", pooling="mean", value=full, chance=0.1, num_queries=400
    )
    return replace(sized, curves=curve, subsamples=pd.DataFrame(rows)[SUBSAMPLE_COLUMNS])


def test_what_a_study_offers(sized):
    assert offered_poolings(sized.subsamples) == ("mean", "flat")
    assert offered_samples(sized.subsamples) == ("test", "train")
    assert offered_layers(sized.subsamples, "mean", "test") == tuple(sized.layers["layer"])


def test_the_first_layers_spread_over_depth_and_include_the_best():
    names = tuple(f"layer{index}" for index in range(20))
    curves = pd.DataFrame({"layer": names, "position": range(20), "value": [0.9 if i == 7 else 0.1 for i in range(20)]})
    curves = curves.assign(
        measure="SI", sampling="full", pooling="mean", samples="test", num_queries=9, low=0.0, high=1.0, chance=0.1
    )
    assert first_layers(curves, names, "mean", "test") == ("layer0", "layer7", "layer10", "layer19")
    assert first_layers(curves[:1], ("layer0",), "mean", "test") == ("layer0",)
    assert first_layers(curves[:0], names[:2], "mean", "test") == ("layer0", "layer1")


def test_a_line_is_the_mean_and_range_of_its_draws(sized):
    rows = [row("queries", 50, 1, 0.7, low=0.6, high=0.8), row("queries", 50, 2, 0.9, low=0.7, high=1.0)]
    study = study_of(sized, [*rows, row("subsample", 50, 1, 0.4)])
    lines = size_lines(study, SizeSelection("mean", "test", ("a",))).set_index("sampling")
    queries = lines.loc["queries"]
    assert (queries["repeats"], queries["size"]) == (2, 50)
    columns = ["value", "lowest", "highest", "low", "high"]
    assert queries[columns].to_list() == pytest.approx([0.8, 0.7, 0.9, 0.65, 0.9])
    assert lines.loc["subsample", ["low", "high"]].isna().all()


def test_only_the_chosen_pooling_split_and_layers_are_drawn(sized):
    lines = size_lines(sized, SizeSelection("flat", "train", ("stem_conv",)))
    rows = sized.subsamples
    keep = (rows["pooling"] == "flat") & (rows["samples"] == "train") & (rows["layer"] == "stem_conv")
    assert len(lines) == 6
    assert lines["value"].mean() == pytest.approx(rows.loc[keep, "value"].mean())


def test_what_is_said_of_the_best_layer(sized):
    rows = [row("subsample", 50, 1, 0.5), row("subsample", 200, 1, 0.7)]
    rows += [row("queries", 50, 1, 0.75), row("queries", 50, 2, 0.85)]
    study = study_of(sized, rows)
    selection = SizeSelection("mean", "test", ("a",))
    ends = size_ends(study.curves, "mean", "test", ("a",))
    assert size_finding(size_lines(study, selection), ends, selection) == (
        "Among the test samples (channel means), SI of `a` is **0.50** with 50 samples and **0.80** with 400. "
        "Compare studies at equal sizes only. "
        "With only 50 queries among all 400 samples, it lies between 0.75 and 0.85 in 2 draws: "
        "these values vary, but are not biased."
    )


def test_without_the_value_of_all_samples_the_largest_size_is_the_end(sized):
    study = study_of(sized, [row("subsample", 50, 1, 0.5), row("subsample", 200, 1, 0.7)])
    selection = SizeSelection("mean", "test", ("a",))
    said = size_finding(size_lines(study, selection), size_ends(study.curves[:0], "mean", "test"), selection)
    assert "**0.70** with 200." in said


def test_nothing_is_said_of_a_layer_with_many_ties_but_why(sized):
    """SI of `b` is highest, where 40 of 400 samples have several nearest neighbors."""
    rows = [row("subsample", 50, 1, 0.5), row("subsample", 200, 1, 0.7)]
    rows += [one | {"layer": "b", "position": 2, "value": 0.9} for one in rows]
    study = study_of(sized, rows)
    curves = pd.concat([study.curves.assign(num_tied=0), study.curves.assign(layer="b", value=0.95, num_tied=40)])
    selection = SizeSelection("mean", "test", ("a", "b"))
    lines, ends = size_lines(study, selection), size_ends(curves, "mean", "test", ("a", "b"))
    said = size_finding(lines, ends, selection)
    assert "SI of `a` is **0.50** with 50 samples and **0.80** with 400." in said
    assert "Nothing is concluded from `b`: more than 5% of the samples" in said
    assert "as in `a`" in precision_finding(ends)
    tied = ends[ends["layer"] == "b"]
    assert size_finding(lines[lines["layer"] == "b"], tied, selection).startswith("Nothing is concluded from `b`")
    assert precision_finding(tied) == ""
    assert first_layers(curves, ("a", "b", "c", "d", "e", "f"), "mean", "test")[0] == "a"


def test_the_default_view_needs_no_words_and_an_address_restores_another(sized):
    assert size_query(size_selection({}, sized), sized) == {}
    other = SizeSelection("flat", "train", ("stem_conv", "block1a_add"))
    assert size_selection(size_query(other, sized), sized) == other


def test_what_the_study_does_not_offer_is_ignored_and_five_layers_are_enough(sized):
    asked = size_selection({"pooling": ["max"], "samples": ["cross"], "layers": ["nothing"]}, sized)
    assert asked == size_selection({}, sized)
    assert len(size_selection({"layers": list(sized.layers["layer"]) * 2}, sized).layers) <= 5


def test_the_command_that_adds_sizes_writes_into_a_folder_of_its_own(sized):
    assert suggested_command(sized) == (
        "python -m core study stanford_dogs_224 --out dogs-sizes --model efficientnet-lite0 --per-class 10 "
        "--sizes 240,480,720,960 --repeats 5"
    )
    precise = {"command": "python -m core study photos --precision 0.02 --out photos-study"}
    command = suggested_command(replace(sized, info=precise))
    assert command.startswith("python -m core study photos --out photos-study-sizes --sizes ")
    assert "--precision" not in command  # which would be refused beside sizes


def test_a_study_that_no_command_made_gets_none(sized):
    assert suggested_command(replace(sized, info={})) is None


def test_suggested_sizes_hold_two_samples_a_class(sized):
    small = sized.curves.assign(num_queries=300)
    assert suggested_sizes(small, 120) == [240]
    assert suggested_sizes(small, None) == [60, 120, 180, 240]


@pytest.mark.parametrize("sampling", ["subsample", "queries"])
def test_the_chart_has_bands_lines_all_samples_and_chance(sized, sampling):
    selection = size_selection({}, sized)
    lines = size_lines(sized, selection)
    ends = size_ends(sized.curves, selection.pooling, selection.samples, selection.layers)
    spec = size_chart(lines, ends, sampling, top=size_top(lines, ends)).to_dict()
    marks = [(layer["mark"]["type"], layer["encoding"].get("y", {}).get("field")) for layer in spec["layer"]]
    assert ("area", "lowest") in marks
    assert marks.count(("line", "value")) == 2
    assert (("rule", "low") in marks) == (sampling == "queries")
    texts = [rows for rows in spec["datasets"].values() if rows and "text" in rows[0]]
    assert {entry["text"] for rows in texts for entry in rows} == {*selection.layers, "chance 0.0075"}
    diamonds = [layer for layer in spec["layer"] if layer["mark"].get("shape") == "diamond"]
    assert len(spec["datasets"][diamonds[0]["data"]["name"]]) == len(selection.layers)


def test_a_learning_curve_goes_on_to_all_samples_and_estimates_do_not(sized):
    selection = size_selection({}, sized)
    lines = size_lines(sized, selection)
    ends = size_ends(sized.curves, selection.pooling, selection.samples, selection.layers)

    def sizes(sampling):
        spec = size_chart(lines, ends, sampling, top=1.0).to_dict()
        drawn = [layer for layer in spec["layer"] if layer["mark"]["type"] == "line" and "color" in layer["encoding"]]
        return {entry["size"] for entry in spec["datasets"][drawn[0]["data"]["name"]]}

    assert sizes("subsample") == {240, 480, 960, 1200}
    assert sizes("queries") == {240, 480, 960}


FITTED = pd.DataFrame(
    {
        "layer": "avg_pool",
        "position": 5,
        "samples": "test",
        "pooling": "mean",
        "kind": ["observed", "fitted", "fitted", "extrapolated"],
        "size": [240, 240, 960, 7680],
        "value": [0.4, 0.41, 0.6, 0.75],
        "low": [np.nan, 0.35, 0.55, 0.7],
        "high": [np.nan, 0.45, 0.65, 0.8],
        "asymptote": 0.8,
    }
)


def test_fitted_curves_are_drawn_dashed_on_a_logarithmic_axis_to_their_end(sized):
    selection = SizeSelection("mean", "test", ("avg_pool",))
    curves = fitted_lines(FITTED, selection)
    assert curves["kind"].to_list() == ["fitted", "fitted", "extrapolated"]
    assert fitted_lines(FITTED, SizeSelection("flat", "test", ("avg_pool",))).empty
    lines, ends = size_lines(sized, selection), size_ends(sized.curves, "mean", "test", ("avg_pool",))
    top = size_top(lines, ends, curves)
    spec = size_chart(lines, ends, "subsample", top=top, curves=curves).to_dict()
    scales = [layer["encoding"]["x"]["scale"] for layer in spec["layer"] if "scale" in layer["encoding"].get("x", {})]
    assert {(scale["type"], scale["domain"][1]) for scale in scales} == {("log", 7680)}
    dashed = [layer for layer in spec["layer"] if layer["mark"].get("strokeDash") == [5, 3]]
    assert len(dashed) == 1


def test_what_the_fitted_curve_and_a_precision_say(sized):
    ends = size_ends(sized.curves, "mean", "test", ("avg_pool",))
    text = extrapolation_finding(fitted_lines(FITTED, SizeSelection("mean", "test", ("avg_pool",))), ends)
    assert "reaches **0.75** (0.70 to 0.80) with 7,680 samples" in text
    assert "approaches 0.80 with ever more samples" in text
    assert extrapolation_finding(FITTED[:0], ends) == ""
    assert "**1,067** queries suffice" in precision_finding(ends)  # 9604·1200/(1200 + 9604), rounded up
    assert precision_finding(ends[:0]) == ""
