"""Several studies, and several sample sizes, in the chart of Layers, with the table of studies beneath it."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from core.report.charts.theme import GRAY
from core.study.store.description import Description, read_description
from explorer.app_pages.layers.lines import chance_levels_by_study, read_lines
from explorer.app_pages.layers.lines_chart import lines_chart
from explorer.app_pages.layers.studies_table import CONFIG, in_gray, studies_table, study_facts
from explorer.controls.study_picker import offered_studies
from explorer.state.choices import Selection
from explorer.state.measures import FULL, Sampling
from explorer.studies.loading import bundled_studies, read_study
from tests.explorer.conftest import FULL_INFO, TINY_LAYERS, judged, with_sizes

ONE = Selection("mean", ("test",), knn=False)
FEWER = [TINY_LAYERS[0], TINY_LAYERS[2], TINY_LAYERS[4]]
RENAMED = [(f"x_{name}", *rest) for name, *rest in TINY_LAYERS]
OTHER_DATA = {**FULL_INFO, "used": {**FULL_INFO["used"], "data": {"name": "birds", "fingerprint": "1" * 64}}}


@pytest.fixture
def written(study_writer, tmp_path):
    """Write a study of the given layers below the test's folder, and return its path."""

    def write(name: str, layers=TINY_LAYERS, **options) -> Path:
        return study_writer(tmp_path / name, layers=layers, **{"info": FULL_INFO, **options})

    return write


@pytest.fixture
def opened(written):
    return lambda *arguments, **options: read_study(written(*arguments, **options))


def said(page) -> str:
    return " ".join(element.value for element in [*page.markdown, *page.caption, *page.info, *page.warning])


def test_studies_with_the_same_names_share_the_axis_of_layers(opened):
    lines = read_lines({"a": opened("a"), "b": opened("b", FEWER)}, ONE)
    assert lines.alignment.by == "name"
    assert list(lines.alignment.layers) == [name for name, *_ in TINY_LAYERS]
    assert lines.rows.groupby("line").size().to_dict() == {"a": 5, "b": 3}
    assert lines.rows.loc[lines.rows["study"] == "b", "depth"].tolist() == [0, 50, 100]


def test_the_page_says_that_layers_come_in_another_order(open_view, written):
    page = open_view("layers", written("a"), also=[str(written("b", TINY_LAYERS[::-1]))])
    assert "the networks' layers of the same names do not come in the same order: 0% is" in said(page)
    page = open_view("layers", written("c"), also=[str(written("d", RENAMED[:3]))])
    assert "the networks' layers do not have the same names: 0% is" in said(page)


def test_studies_with_other_names_share_relative_depth(opened):
    lines = read_lines({"a": opened("a"), "b": opened("b", RENAMED[:3])}, ONE)
    assert lines.alignment.by == "position"
    assert lines.rows.loc[lines.rows["study"] == "a", "depth"].tolist() == [0, 25, 50, 75, 100]
    assert lines.rows.loc[lines.rows["study"] == "b", "depth"].tolist() == [0, 50, 100]
    assert lines_chart(lines, "SI").to_dict(validate=True)["layer"]


def test_lines_are_named_by_what_tells_them_apart(opened):
    both = replace(ONE, samples=("test", "train"))
    lines = read_lines({"a": opened("a"), "b": opened("b")}, both)
    assert lines.names("line") == ["a, Test", "a, Train", "b, Test", "b, Train"]
    assert lines.rows.drop_duplicates("line")[["color", "dash"]].to_numpy().tolist() == [
        ["a", 0],
        ["a", 1],
        ["b", 0],
        ["b", 1],
    ]


def test_sample_sizes_lie_over_each_other_the_smallest_first(opened):
    study = opened("sized", change=lambda frame: with_sizes(judged(frame)))
    sizes = (FULL, Sampling("subsample", 960), Sampling("subsample", 240))
    lines = read_lines({"sized": study}, replace(ONE, samplings=sizes))
    assert lines.names("line") == ["240 samples", "960 samples", "All samples"]
    assert lines.names("color") == lines.names("line")
    rows = lines.rows[lines.rows["size"] == "240 samples"]
    drawn = study.subsamples[(study.subsamples["num_queries"] == 240) & (study.subsamples["sampling"] == "subsample")]
    drawn = drawn[(drawn["samples"] == "test") & (drawn["pooling"] == "mean")].groupby("position")["value"].mean()
    assert rows["value"].tolist() == pytest.approx(drawn.tolist())
    spec = lines_chart(lines, "SI").to_dict(validate=True)
    assert "240 samples" in str(spec)


def test_a_study_without_values_for_the_choices_is_named(opened):
    lines = read_lines({"a": opened("a"), "flat": opened("flat", poolings=("flat",), layers=TINY_LAYERS[:4])}, ONE)
    assert lines.missing == ("flat",)
    assert lines.names("study") == ["a"]


def test_chance_levels_that_differ_have_the_names_of_their_studies():
    rows = pd.DataFrame({"study": ["a", "b", "c"], "chance": [0.01, 0.1, 0.012]})
    assert chance_levels_by_study(rows) == [(pytest.approx(0.011), "a, c"), (0.1, "b")]
    assert chance_levels_by_study(rows[:1]) == [(0.01, "")]


def test_comparable_studies_are_offered_first_and_the_others_with_their_reason():
    known = bundled_studies()
    offered = offered_studies(read_study(known["dogs-tuned"]), known)
    names = [one.name for one in offered]
    assert "dogs-tuned" not in names
    assert {one.name for one in offered if one.rank == 0} == {
        "dogs",
        "dogs-b0-untrained",
        "dogs-head",
        "dogs-untrained",
    }
    reasons = {one.name: one.title.partition(" — not comparable: ")[2] for one in offered}
    assert reasons["dogs"] == ""
    assert reasons["digits"] == "other data (digits)"
    assert reasons["ranking-efficientnet-lite1"] == "another number of samples (3,600), and SI rises with it"
    assert names.index("ranking-efficientnet-lite1") < names.index("digits")


def test_a_row_of_the_table_says_what_the_study_found(opened):
    timed = FULL_INFO | {"created": "2026-01-01T10:00:00+00:00", "finished": "2026-01-01T10:12:00+00:00"}
    study = opened("a", change=judged, info=timed)
    probe = pd.DataFrame({"split": ["test"], "layer": ["avg_pool"], "value": [0.75]})
    row = study_facts(study, probe)
    value = study.curves.query("layer == 'avg_pool' and samples == 'test' and measure == 'SI' and pooling == 'mean'")
    assert row["network"] == "efficientnet-lite0, pre-trained on ImageNet"
    assert (row["data"], row["samples"], row["n"], row["layer"]) == ("stanford_dogs_224", "Test", 1200, "avg_pool")
    assert row["si"] == value["value"].iloc[0]
    assert row["interval"] == f"{value['low'].iloc[0]:.3f} to {value['high'].iloc[0]:.3f}"
    assert (row["accuracy"], row["minutes"]) == (0.75, 12.0)
    assert study_facts(study, probe[:0])["accuracy"] == pytest.approx(row["si"] * 1.08, abs=0.03)  # kNN
    table = studies_table({"a": row}, {"a": {"name": "a", "note": "", "tags": []}})
    assert list(table.columns) == [name for name in CONFIG if name != "against"]
    table = studies_table({"a": row}, {"a": {"name": "a", "note": "", "tags": []}}, {"b": "other data (birds)"})
    assert list(table.columns) == list(CONFIG)


def test_studies_that_are_not_comparable_are_gray_with_the_reason(opened):
    studies = {"a": opened("a"), "b": opened("b"), "birds": opened("birds", info=OTHER_DATA)}
    lines = read_lines(studies, ONE)
    assert list(lines.not_comparable) == ["birds"]
    colors = [layer["encoding"]["color"] for layer in _leaves(lines_chart(lines, "SI").to_dict())]
    assert all(color["scale"]["domain"] == ["a", "b"] for color in colors)
    assert {color["condition"]["value"] for color in colors} == {GRAY}
    assert all('indexof(["birds"], datum.color)' in color["condition"]["test"] for color in colors)
    rows = {name: {} for name in studies}
    styled = in_gray(studies_table(rows, {name: {"name": name} for name in studies}, lines.not_comparable))
    gray = {cell for cell, style in styled._compute().ctx.items() if ("color", GRAY) in style}
    assert {row for row, _ in gray} == {2}


def _leaves(spec):
    """The marks of a chart that have a color of their line."""
    parts = spec.get("layer", [])
    leaves = [leaf for part in parts for leaf in _leaves(part)] if parts else [spec]
    return [leaf for leaf in leaves if "color" in leaf.get("encoding", {})]


@pytest.mark.parametrize("time", [None, "yesterday"])
def test_times_that_a_study_does_not_tell_are_left_out(opened, time):
    row = study_facts(
        opened("a", info={"created": time, "finished": None}), pd.DataFrame(columns=["layer", "split", "value"])
    )
    assert row["minutes"] is None
    assert row["made"] is None
    assert row["network"] is None


def test_name_note_and_tags_are_kept_with_the_study(open_view, written):
    path, other = written("open"), written("same")
    page = open_view("layers", path, also=[str(other)])
    page.selectbox(key=f"described beside {path}").set_value(str(other)).run()
    page.text_input(key=f"name in the description of {other}").set_value(" mine ")
    page.text_area(key=f"note in the description of {other}").set_value("tried first")
    page.multiselect(key=f"tags in the description of {other}").set_value(["x"])
    next(button for button in page.button if button.label == "Save").click().run()
    assert read_description(other) == Description("mine", "tried first", ("x",))
    assert page.dataframe[0].value[["name", "note"]].to_numpy().tolist() == [["open", ""], ["mine", "tried first"]]
    assert read_description(path) == Description()
    page.multiselect(key=f"tags in the description of {other}").set_value([str(number) for number in range(21)])
    next(button for button in page.button if button.label == "Save").click().run()
    assert "tags must be a list of at most 20 texts" in said(page)
    assert read_description(other).name == "mine"


def test_the_table_is_of_several_studies_and_a_single_one_has_the_form(open_view, written):
    page = open_view("layers", written("open"))
    assert not page.dataframe
    assert "Save" in [button.label for button in page.button]


def test_four_studies_are_drawn_listed_and_restored_by_the_address(open_view, written):
    paths = [written("open"), written("same"), written("fewer", FEWER), written("birds", info=OTHER_DATA)]
    also = [str(path) for path in paths[1:]]
    page = open_view("layers", paths[0], also=also)
    assert len(page.get("vega_lite_chart")) == 1
    assert "Layers are aligned by name." in said(page)
    assert "**birds: not the same samples**" in said(page)
    assert "rose" not in said(page)  # nothing is concluded across more than two
    assert list(page.dataframe[0].value["name"]) == ["open", "same", "fewer", "birds"]
    assert page.query_params["also"] == also
    page.multiselect(key=f"also of {paths[0]}").set_value(also[2:]).run()
    assert page.query_params["also"] in (also[2:], also[2])
    assert "Nothing is concluded" not in said(page)  # nor of two that are not comparable
    assert list(page.dataframe[0].value["name"]) == ["open", "birds"]


def test_of_two_comparable_studies_the_rule_of_compare_is_told(open_view):
    page = open_view("layers", study="dogs", also="dogs-tuned")
    assert "From **dogs-tuned** to **dogs** (Test samples, channel means): SI **rose** at 1 of 60 layers" in said(page)
    page.multiselect(key=f"also of {bundled_studies()['dogs']}").set_value(["dogs-tuned", "dogs-untrained"]).run()
    assert "to **dogs** (" not in said(page)


def test_of_two_studies_whose_samples_are_not_stored_nothing_is_concluded(open_view, written):
    page = open_view("layers", written("after"), also=str(written("before")))
    assert "Nothing is concluded from these two studies" in said(page)


def test_a_study_that_cannot_be_opened_is_named_and_the_others_are_shown(open_view, written, tmp_path):
    path = written("open")
    also = [str(tmp_path / "gone"), "a\0b", "x" * 5_000, str(path), str(written("same"))]
    page = open_view("layers", path, also=also)
    assert "gone cannot be shown" in said(page)
    assert list(page.dataframe[0].value["name"]) == ["open", "same"]


def test_in_public_only_listed_studies_are_shown_and_names_last_for_the_visit(open_view, written, monkeypatch):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    page = open_view("layers", study="digits", also=[str(written("secret")), "digits-training"])
    assert "There is no study" in said(page)
    assert list(page.dataframe[0].value["name"]) == ["digits", "digits-training"]
    assert "for this visit only" in said(page)
    assert not page.multiselect(key=f"also of {bundled_studies()['digits']}").options[0].startswith("/")


def test_a_name_appears_in_the_picker_the_chart_and_the_report(open_view, written):
    from core.report.content import make_report
    from core.study.store.description import change_description

    path, other = written("open", change=judged), written("same")
    change_description(other, name="before tuning")
    page = open_view("layers", path, also=[str(other)])
    assert list(page.dataframe[0].value["name"]) == ["open", "before tuning"]
    change_description(path, name="after tuning")
    page = open_view("layers", path, also=[str(other)])
    assert page.selectbox(key="study").options[0].startswith("after tuning · ")
    assert make_report(path).name == "after tuning"
    (path / "description.json").write_text("{")
    page = open_view("layers", path, also=[str(other)])
    assert "description.json must be JSON" in said(page).replace("\\", "")
    assert make_report(path).name == "open"


def test_blocks_are_named_below_studies_with_the_same_names(opened):
    lines = read_lines({"a": opened("a"), "b": opened("b", FEWER)}, ONE)
    assert lines.layers["layer"].tolist() == [name for name, *_ in TINY_LAYERS]
    assert lines.layers["block"].tolist() == ["stem", "block1a", "block1a", "block2a", "avg"]
    spec = lines_chart(lines, "SI").to_dict()
    texts = {row["text"] for rows in spec["datasets"].values() for row in rows if "low" in row and "text" in row}
    assert {"block1a", "block2a"} <= texts
