"""Two studies of the same samples, layer by layer."""

import shutil

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.comparing import compare_layers, compare_studies, match_layers
from core.measures.paired import paired_difference
from core.report.words.changes import describe_changes
from core.study.store.opening import StudyError

N, CLASSES = 80, 4
IDS = [f"image {number:02d}" for number in range(2 * N)]
LABELS = [f"class {number % CLASSES}" for number in range(2 * N)]
SPLITS = ["train"] * N + ["test"] * N


def features(spread, seed=0):
    centers = np.random.default_rng(9).normal(size=(CLASSES, 6))
    noise = np.random.default_rng(seed).normal(size=(2 * N, 6))
    return np.float32(spread * centers[np.arange(2 * N) % CLASSES] + noise)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """A study of the layers given by name and spread of the classes."""

    def study(spreads, *, ids=IDS, labels=LABELS, rows=slice(None), seed=0):
        layers = {name: features(spread, seed + at)[rows] for at, (name, spread) in enumerate(spreads.items())}
        out = tmp_path_factory.mktemp("study") / "out"
        return core.study_from_features(
            layers, list(np.array(labels)[rows]), out=out, ids=list(np.array(ids)[rows]), splits=SPLITS[rows]
        )

    return study


@pytest.fixture(scope="module")
def before(write):
    return write({"first": 0.3, "middle": 0.5, "last": 0.6})


@pytest.fixture(scope="module")
def after(write):
    return write({"first": 0.3, "middle": 0.5, "last": 3.0})


def test_values_differences_and_what_they_mean(before, after):
    table = compare_studies(before, after, pooling="flat")
    assert list(table["layer"]) == ["first", "middle", "last"]
    assert list(table["verdict"]) == ["no certain change", "no certain change", "rose"]
    assert list(table["difference"][:2]) == [0, 0]
    assert table["difference"].to_numpy() == pytest.approx(table["after"] - table["before"])
    assert table["paired"].all()
    assert (table["low"] <= table["difference"]).all()
    assert (table["difference"] <= table["high"]).all()
    assert list(compare_studies(after, before, pooling="flat")["verdict"])[-1] == "fell"


def test_the_paired_interval_is_that_of_the_measures(before, after):
    row = compare_studies(before, after, pooling="flat", split="train").iloc[2]
    results = [core.separation_index(features(spread, 2)[:N], LABELS[:N]) for spread in (0.6, 3.0)]
    near = [np.column_stack([np.arange(N), result.nearest]) for result in results]
    scores = [result.by_sample for result in results]
    expected = paired_difference(*scores, LABELS[:N], nodes_before=near[0], nodes_after=near[1])
    assert (row["low"], row["high"]) == pytest.approx(expected.interval())
    assert row["p_value"] == pytest.approx(expected.p_value)
    assert (row["before"], row["after"]) == pytest.approx(tuple(result.value for result in results))


def test_across_the_splits(before, after):
    row = compare_studies(before, after, measure="cross", pooling="flat").iloc[2]
    spreads = (features(0.6, 2), features(3.0, 2))
    values = [core.cross_separation_index(one[:N], LABELS[:N], one[N:], LABELS[N:]).value for one in spreads]
    assert (row["before"], row["after"]) == pytest.approx(tuple(values))
    assert row["paired"]


def test_samples_may_be_numbered_differently(before, after, write):
    test_only = write({"first": 0.3, "middle": 0.5, "last": 3.0}, rows=slice(N, None))
    ours, theirs = (compare_studies(before, one, pooling="flat") for one in (after, test_only))
    pd.testing.assert_frame_equal(
        ours[["after", "low", "high", "q_value"]], theirs[["after", "low", "high", "q_value"]]
    )


def test_without_stored_neighbors_the_interval_is_unpaired_and_wider(before, after, tmp_path):
    def without_first(name, columns=None, filters=None):
        if name == "neighbors":
            filters = [[*alternative, ("layer", "!=", "first")] for alternative in filters]
        return after.table(name, columns, filters)

    paired = compare_studies(before, after, pooling="flat").set_index("layer")
    lean = core.load_study(after.path)
    object.__setattr__(lean, "table", without_first)
    table = compare_studies(before, lean, pooling="flat").set_index("layer")
    assert list(table["paired"]) == [False, True, True]
    width = table["high"] - table["low"]
    assert width["first"] > (paired["high"] - paired["low"])["first"]
    object.__setattr__(lean, "measurements", after.measurements.assign(low=np.nan, high=np.nan))
    row = compare_studies(before, lean, pooling="flat").set_index("layer").loc["first"]
    assert row["verdict"] == "no interval"
    assert np.isnan(row["low"])
    assert np.isnan(row["q_value"])


def test_no_more_of_the_neighbors_is_read_than_it_takes(before, after, monkeypatch):
    asked = []
    read = core.Study.table

    def table(self, name, columns=None, filters=None):
        asked.append((name, columns, filters))
        return read(self, name, columns, filters)

    monkeypatch.setattr(core.Study, "table", table)
    compare_studies(before, after, pooling="flat")
    found = [(columns, filters) for name, columns, filters in asked if name == "neighbors"]
    assert len(found) == 2
    assert not any("distance" in columns for columns, _ in found)
    assert all(("rank", "==", 1) in alternative for _, filters in found for alternative in filters)


def test_other_networks_are_matched_by_relative_position(before, write):
    other = write({"a": 0.3, "b": 0.4, "c": 0.5, "d": 0.6, "e": 0.7})
    table = compare_studies(before, other, pooling="flat")
    assert list(table["layer"]) == list("abcde")
    assert list(table["layer_before"]) == ["first", "first", "middle", "middle", "last"]
    assert list(table["relative_position"]) == [0, 0.25, 0.5, 0.75, 1]
    assert compare_studies(before, other, pooling="flat", match="name").empty


def test_layers_of_one_name_are_compared_where_most_have_one(before, write):
    longer = write({"first": 0.3, "new": 0.3, "middle": 0.5, "last": 0.6})
    assert list(compare_studies(before, longer, pooling="flat")["layer"]) == ["first", "middle", "last"]
    forced = compare_studies(before, longer, pooling="flat", match="position")
    assert list(forced["layer_before"]) == ["first", "middle", "middle", "last"]
    assert list(forced["matched_by"]) == ["position"] * 4


def test_a_part_of_the_layers_is_compared_by_name_and_nothing_changed(write):
    """Sixty layers and twenty of them: by position most would be laid over others."""
    spreads = {f"layer{number}": 0.05 * number for number in range(60)}
    whole = write(spreads)
    layers = {name: features(spreads[name], at) for at, name in enumerate(spreads) if at % 3 == 0}
    part = core.study_from_features(layers, LABELS, out=whole.path.parent / "part", ids=IDS, splits=SPLITS)
    for studies in ((whole, part), (part, whole)):
        table = compare_studies(*studies, pooling="flat")
        assert list(table["layer"]) == list(table["layer_before"]) == list(layers)
        assert (table["difference"] == 0).all()
        assert set(table["verdict"]) == {"no certain change"}
        assert set(table["matched_by"]) == {"name"}
        assert set(table["num_samples"]) == {N}
    match = match_layers(whole, part, pooling="flat")
    assert (len(match.pairs), len(match.only_before), match.only_after) == (20, 40, ())


GENERIC = ("input", "avg_pool", "predictions")


@pytest.mark.parametrize(
    ("first", "second", "by", "num_pairs"),
    [
        (("a", "b", "c", "d"), ("b", "c"), "name", 2),  # all of one are among the other
        (("a", "b", "c", "d", "e", "f", "g"), ("c", "d", "x", "y"), "name", 2),  # half of the smaller one
        (("a", "b", "c", "d"), ("d", "x", "y"), "position", 3),  # fewer
        ((*"abcdefg", *GENERIC), (*"tuvwxyz", *GENERIC), "position", 10),  # two networks that share usual names
        (("a", "b", *GENERIC), GENERIC, "name", 3),
        (("a", "b"), ("c", "d"), "position", 2),
    ],
)
def test_layers_are_matched_by_name_wherever_that_can_be_done(write, first, second, by, num_pairs):
    studies = [write(dict.fromkeys(names, 0.5)) for names in (first, second)]
    match = match_layers(*studies, pooling="flat")
    assert (match.by, len(match.pairs), match.num_common) == (by, num_pairs, len(set(first) & set(second)))
    if by == "name":
        assert match.only_before == tuple(name for name in first if name not in second)
        assert match.only_after == tuple(name for name in second if name not in first)


def test_two_parts_of_one_network_are_never_laid_over_each_other(write):
    studies = [write(dict.fromkeys(names, 0.5)) for names in ("abcdef", "fghijk")]
    assert match_layers(*studies, pooling="flat").by == "position"
    for study in studies:
        object.__setattr__(study, "info", {**study.info, "used": {"model": {"name": "efficientnet-lite0"}}})
    match = match_layers(*studies, pooling="flat")
    assert (match.by, match.pairs) == ("name", (("f", "f"),))
    assert (match.only_before, match.only_after) == (tuple("abcde"), tuple("ghijk"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"rows": slice(0, 2 * N - 3)}, "80 test samples before and 77 after"),
        ({"ids": [*IDS[:-1], "another"]}, "id 'image 159' before and 'another' after, at test sample 79"),
        ({"ids": [*IDS[:N], *IDS[:N - 1 : -1]]}, "the same ids in another order"),
        ({"labels": [*LABELS[:-1], "class 0"]}, "class 'class 3' before and 'class 0' after, at test sample 79"),
    ],
)  # fmt: skip
def test_other_samples_are_refused_by_what_differs(before, write, other, message):
    with pytest.raises(core.StudyError, match=message):
        compare_studies(before, write({"first": 0.3}, **other), pooling="flat")


def test_unknown_choices_and_missing_measures_are_refused(before, after):
    with pytest.raises(ValueError, match="measure must be one of separation, cross; got 'center'"):
        compare_studies(before, after, measure="center")
    with pytest.raises(ValueError, match="match must be one of name, position; got 'order'"):
        compare_studies(before, after, match="order")
    with pytest.raises(ValueError, match="pooling must be one of flat, mean; got 'max'"):
        compare_studies(before, after, pooling="max")


@pytest.mark.parametrize("measure", ["separation", "cross"])
def test_layers_of_one_s_choice_are_compared_as_all_are(before, after, measure):
    found = compare_layers(before, after, [("last", "last"), ("first", "first")], measure=measure, pooling="flat")
    table = compare_studies(before, after, measure=measure, pooling="flat").iloc[[2, 0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, table[list(found)])


def test_layers_within_one_study_and_at_another_level(after):
    pairs = [("first", "last"), ("last", "first")]
    usual, wide = (compare_layers(after, after, pairs, pooling="flat", level=level) for level in (0.95, 0.999))
    assert usual["difference"].tolist() == (-usual["difference"][::-1]).tolist()
    assert (wide["low"] < usual["low"]).all()
    assert (wide["high"] > usual["high"]).all()
    assert wide["p_value"].equals(usual["p_value"])


def test_an_unpaired_interval_widens_with_the_level_and_its_p_stays(before, after, tmp_path):
    bare = core.load_study(shutil.copytree(before.path, tmp_path / "bare"))
    (bare.path / "neighbors.parquet").unlink()
    usual, wide = (compare_layers(bare, after, [("last", "last")], pooling="flat", level=at) for at in (0.95, 0.99))
    assert not usual["paired"].any()
    assert (wide["low"] < usual["low"]).all()
    assert (wide["high"] > usual["high"]).all()
    assert wide["p_value"].equals(usual["p_value"])


def test_a_layer_that_was_not_measured_is_told(before, after):
    with pytest.raises(StudyError, match=r"at 'lost'\. It has it at first, middle, last"):
        compare_layers(before, after, [("last", "lost")], pooling="flat")


@pytest.mark.parametrize("where", ["before", "after"])
def test_nothing_is_concluded_from_a_layer_with_many_ties(tmp_path, where):
    """In one of the studies all samples of a class lie on one point: SI rises to 1, by the order of the samples."""
    labels = np.arange(N) % CLASSES
    layers = {
        side: {name: features(0.3, seed)[:N] for seed, name in enumerate(("first", "last"))}
        for side in ("before", "after")
    }
    layers[where]["last"] = np.eye(CLASSES)[labels]
    first, second = (core.study_from_features(layers[side], labels, out=tmp_path / side) for side in layers)
    table = compare_studies(first, second, split="train").set_index("layer")
    assert table["verdict"].tolist() == ["no certain change", "many ties"]
    assert np.isnan(table["q_value"]["last"])
    assert table["q_value"]["first"] == table["p_value"]["first"]  # the only one that is judged
    text = describe_changes(table.reset_index(), match_layers(first, second, split="train"), ("a", "b"))
    assert text.startswith("SI did not change with certainty: 1 layer compared by name")
    assert "Nothing is concluded from `last`: more than 5% of the samples have several neighbors" in text
