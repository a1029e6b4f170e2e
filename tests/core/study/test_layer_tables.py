"""What a study computes at each layer, against the measures called on the same arrays."""

import numpy as np
import pytest

import core
from core.data.images.loading import load_images
from core.measures.center import CenterGeometry
from core.measures.sample_size import required_queries


@pytest.fixture(scope="module")
def digits():
    """Features, labels and splits of the digits as a study orders them: training samples first."""
    images = load_images("digits", seed=0)
    images = images.select(np.argsort(images.splits != "train", kind="stable"))
    return images.raw(np.arange(len(images))).reshape(len(images), -1), images.labels, images.splits


def run(tmp_path, **options):
    return core.run_study(core.StudyOptions("digits", model="pixels", **options), tmp_path / "study").measurements


def one(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def test_the_family_with_chance_and_interval(tmp_path, digits):
    features, labels, splits = digits
    table = run(tmp_path)
    train = splits == "train"
    for measure, order in (("separation", 1), ("balanced", 1), ("high_order", 3), ("soft", 5), ("anti", 2)):
        function = getattr(core, "separation_index" if measure == "separation" else f"{measure}_separation_index")
        expected = function(features[train], labels[train], **({"order": order} if order > 1 else {}))
        row = one(table, split="train", measure=measure, order=order)
        assert (row["value"], row["chance"]) == (expected.value, expected.chance)
        assert (row["low"], row["high"]) == pytest.approx(expected.interval())
        assert row["target"] == "population"
    cross = core.cross_separation_index(features[train], labels[train], features[~train], labels[~train])
    row = one(table, measure="cross")
    assert (row["value"], row["chance"], row["z"]) == pytest.approx((cross.value, cross.chance, cross.z))
    assert row["num_references"] == train.sum()


def test_q_values_adjust_all_p_values_of_the_study(tmp_path):
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.normal(size=(60, 3)) for i in range(8)}
    study = core.study_from_features(layers, np.arange(60) % 3, out=tmp_path / "study")
    table = study.measurements.dropna(subset=["p_value"])
    assert len(table) == 8
    assert (table["q_value"] >= table["p_value"]).all()
    assert table["q_value"].max() == pytest.approx(table["p_value"].max())


def test_sizes_are_measured_both_ways_on_nested_samples(tmp_path, digits):
    _features, _labels, splits = digits
    table = run(tmp_path, sizes=(50, 100, 300), repeats=2, split="train", probe=False)
    sampled = table[table["repeat"] > 0]
    assert len(sampled) == 3 * 2 * 2
    full = one(table, split="train", measure="separation", repeat=0)["value"]
    curve = sampled[sampled["sampling"] == "subsample"].groupby("num_queries")["value"].mean()
    assert curve[50] < curve[300] < full
    asked = sampled[sampled["sampling"] == "queries"]
    assert (asked["num_references"] == (splits == "train").sum() - 1).all()
    assert asked["target"].eq("data").all()
    assert ((asked["low"] <= asked["value"]) & (asked["value"] <= asked["high"])).all()


def test_a_curve_is_fitted_to_three_sizes(tmp_path):
    options = core.StudyOptions("digits", model="pixels", sizes=(40, 80, 160), repeats=4, split="train", probe=False)
    study = core.run_study(options, tmp_path / "study")
    curve = study.curves
    assert curve["kind"].value_counts().to_dict() == {"observed": 3, "fitted": 7, "extrapolated": 9}
    assert curve.loc[curve["kind"] == "extrapolated", "size"].max() == 8 * 160
    farthest = curve[curve["size"] == 1280].iloc[0]
    full = one(study.measurements, measure="separation", repeat=0)["value"]
    assert farthest["low"] <= farthest["value"] <= farthest["high"]
    assert farthest["value"] == pytest.approx(full, abs=0.05)
    two = core.StudyOptions("digits", model="pixels", sizes=(40, 80), split="train", probe=False)
    assert core.run_study(two, tmp_path / "two").curves.empty


def test_a_subsample_is_measured_as_if_alone(tmp_path, digits):
    _features, _labels, _splits = digits
    table = run(tmp_path, sizes=(60,), repeats=1, split="train", probe=False)
    images = load_images("digits", split="train")
    from core.data.sampling import stratified_subsample

    rows = stratified_subsample(images.ids, images.labels, 60, seed=1)
    pixels = images.raw(np.arange(len(images))).reshape(len(images), -1)
    expected = core.separation_index(pixels[rows], images.labels[rows])
    row = one(table, sampling="subsample")
    assert (row["value"], row["chance"]) == (expected.value, expected.chance)


def test_sizes_that_a_split_cannot_give_are_refused(tmp_path):
    with pytest.raises(ValueError, match="size must"):
        run(tmp_path, sizes=(15,))
    with pytest.raises(ValueError, match="size must"):
        run(tmp_path, sizes=(1000,))
    assert not (tmp_path / "study").exists()


def test_precision_asks_as_many_as_it_takes_at_worst(tmp_path, digits):
    _features, _labels, splits = digits
    table = run(tmp_path, precision=0.04, probe=False)
    row = one(table, split="train", measure="separation")
    assert row["num_queries"] == required_queries(0.04, int((splits == "train").sum()))
    assert (row["sampling"], row["target"]) == ("queries", "data")
    assert (row["high"] - row["low"]) / 2 < 0.04
    assert one(table, measure="cross")["sampling"] == "queries"


def test_a_pilot_asks_fewer_and_is_discarded(tmp_path):
    options = core.StudyOptions("digits", model="pixels", precision=0.04, pilot=100, split="train", probe=False)
    study = core.run_study(options, tmp_path / "study")
    asked = study.info["num_queries"]["train"]
    assert 10 < asked < required_queries(0.04, 1438)
    images = load_images("digits", split="train")
    from core.data.sampling import sample_order

    pilot = set(sample_order(images.ids, 0)[:100].tolist())
    assert study.neighbors["sample"].nunique() == asked
    assert not pilot & set(study.neighbors["sample"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"precision": 0.7}, "precision must lie between 0 and 0.5; got 0.7"),
        ({"precision": 0.1, "sizes": (50,)}, "precision and sizes must not be combined"),
        ({"pilot": 100}, "pilot must be at least 0, and go with a precision"),
        ({"protocol": "paper"}, "protocol must be one of separation, notebook"),
        ({"repeats": 0}, "repeats must be at least 1"),
    ],
)
def test_options_out_of_range_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        core.StudyOptions("digits", **options)


def test_the_notebooks_protocol_shows_its_permuted_control(tmp_path, digits):
    features, labels, splits = digits
    table = run(tmp_path, protocol="notebook", split="train")
    expected = CenterGeometry.of(features[splits == "train"])
    for leave_one_out, measure in ((False, "center_in_sample"), (True, "center")):
        row = one(table, measure=measure)
        assert row["value"] == expected.separation(labels[splits == "train"], leave_one_out=leave_one_out).value
        assert 0 < row["chance"] < row["value"]
    in_sample, left_out = (one(table, measure=name)["chance"] for name in ("center_in_sample", "center"))
    assert in_sample > left_out


def test_in_sample_centers_of_wide_features_need_no_labels(tmp_path):
    """The notebook's finding: in high dimension meaningless labels score near 1."""
    rng = np.random.default_rng(1)
    noise = CenterGeometry.of(rng.normal(size=(200, 5000)).astype(np.float32))
    labels = np.arange(200) % 20
    assert noise.separation(labels, leave_one_out=False).value > 0.99
    assert noise.separation(labels).value < 0.1


def test_linear_probe_within_and_across(tmp_path):
    table = run(tmp_path, per_class=30)
    within = one(table, split="train", measure="linear_probe")
    across = one(table, split="test", measure="linear_probe")
    assert (within["num_references"], across["num_references"]) == (299, 300)
    assert 0.8 < within["value"] < 1
    assert 0.8 < across["value"] < 1


def test_tied_samples_are_counted_and_cautioned_against(tmp_path):
    """On the line 0, 1, 2, 10, 11.5, 14 only the 1 lies between two neighbors: one of six samples is tied."""
    line = np.float32([[0], [1], [2], [10], [11.5], [14]])
    labels = [0, 0, 0, 1, 1, 1]
    wide = line * line  # no two distances are the same
    study = core.study_from_features({"line": line, "wide": wide}, labels, out=tmp_path / "study")
    rows = study.measurements
    first = rows[rows["measure"] == "separation"].set_index("layer")["num_tied"]
    assert first.to_dict() == {"line": 1, "wide": 0}
    assert rows.loc[rows["measure"] == "knn", "num_tied"].isna().all()
    (caution,) = [text for text in study.info["cautions"] if "several neighbors" in text]
    assert caution.startswith("At layer line, 17% of the samples have several neighbors at exactly the same smallest")


def test_of_a_layer_without_values_ties_are_unknown(tmp_path):
    study = core.study_from_features(
        {"same": np.ones((6, 2), np.float32), "line": np.float32([[0], [1], [3], [7], [15], [31]])},
        [0, 0, 0, 1, 1, 1],
        out=tmp_path / "study",
    )
    rows = study.measurements
    assert rows.loc[rows["layer"] == "same", "num_tied"].isna().all()
    assert not any("several neighbors" in text for text in study.info["cautions"])
