"""Rankings of networks: a hand-worked one, who is tied and who is worse, and that a run that stopped goes on."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.ranking import ranking
from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import load_ranking, rank_networks, ranks_samples_of
from core.analysis.ranking.ready_features import FeatureFiles
from core.analysis.ranking.tables import BEST, TIE, WORSE, at_chance_text, num_comparisons
from core.measures.paired import PairedDifference, paired_difference
from core.study.store.opening import StudyError

pytestmark = pytest.mark.slow

CLASSES, N = 5, 60
LABELS = np.arange(N) % CLASSES
CENTERS = 10 * np.eye(CLASSES, dtype=np.float32)


def separated(spread: float, seed: int) -> np.ndarray:
    """Features of N samples, whose noise hides the classes where it is large."""
    return CENTERS[LABELS] + np.float32(spread) * np.random.default_rng(seed).normal(size=(N, CLASSES)).astype("f4")


@pytest.fixture
def files(tmp_path: Path):
    """Writes a network's features: {layer: noise}, or arrays, in both splits or in one."""

    def write(name: str, layers: dict, *, test: bool = True, labels: np.ndarray = LABELS) -> FeatureFiles:
        paths = [tmp_path / f"{name}-{split}.npz" for split in ("train", "test")]
        for part, path in enumerate(paths):
            arrays = {
                layer: separated(spread, 10 * place + part) if isinstance(spread, float) else spread[part]
                for place, (layer, spread) in enumerate(layers.items())
            }
            np.savez(path, labels=labels, **arrays)
        return FeatureFiles(name, str(paths[0]), test=str(paths[1]) if test else None)

    return write


def rank(folder: Path, *features: FeatureFiles, **options) -> ranking.Ranking:
    return rank_networks(RankOptions(features=features, neighbors=1, probe=False, **options), folder)


def test_a_ranking_is_of_a_study_s_samples_where_ids_and_classes_are_the_same(files, tmp_path):
    found = rank(tmp_path / "out", files("good", {"one": 1.0}), files("bad", {"one": 9.0}))
    assert all(ranks_samples_of(found, found.study(name)) for name in ("good", "bad"))
    for change in ({"class_name": "another"}, {"id": "another"}, {"split": "train"}):
        study = found.study("good")
        last = study.samples["sample"] == study.samples["sample"].max()
        samples = study.samples.astype(dict.fromkeys(change, object))
        samples.loc[last, list(change)] = list(change.values())
        object.__setattr__(study, "samples", samples)
        assert not ranks_samples_of(found, study)
    study = found.study("good")
    object.__setattr__(study, "info", {"asked": {"data": "photos"}, "used": {"data": {"fingerprint": "one"}}})
    assert ranks_samples_of(found, study)  # the ranking does not say what its images hold
    object.__setattr__(found, "info", {**found.info, "used": {"data": {"fingerprint": "another"}}})
    assert not ranks_samples_of(found, study)


def test_a_ranking_worked_out_by_hand(files, tmp_path):
    """Four training samples on a line and four test samples beside them; classes 0 0 1 1."""
    labels = np.array([0, 0, 1, 1])
    train = np.float32([[0], [1], [10], [11]])
    mixed = np.float32([[0], [10], [1], [11]])  # each one's nearest is of the other class
    good = files("good", {"early": (mixed, train), "late": (train, train)}, labels=labels)
    # within train its layer is perfect; but two of the four test samples lie at the other class
    bad = files("bad", {"only": (train, np.float32([[0.1], [9], [0.2], [9.1]]))}, labels=labels)
    found = rank(tmp_path / "out", bad, good)
    layers = found.layers.set_index(["network", "layer"])
    assert list(layers.index) == [("bad", "only"), ("good", "early"), ("good", "late")]
    assert list(layers["within"]) == [1, 0, 1]
    assert list(layers["value"]) == [0.5, 0.5, 1]
    assert list(layers["chosen"]) == [True, False, True]
    assert list(layers["chance"]) == [0.5] * 3
    assert list(layers["difference"]) == [-0.5, -0.5, 0]
    networks = found.networks
    assert list(networks["network"]) == ["good", "bad"]
    assert list(networks["layer"]) == ["late", "only"]
    assert list(networks["num_layers"]) == [2, 1]
    assert list(networks["difference"]) == [0, -0.5]
    assert list(networks["verdict"]) == [BEST, TIE]  # four samples prove nothing
    assert found.info["compared"] == {
        "measure": "cross",
        "split": "test",
        "chosen_by": "separation",
        "chosen_in": "train",
        "pooling": "mean",
        "level": 0.95,
        "num_comparisons": 1,
    }
    assert found.info["samples"] == {"train": 4, "test": 4}
    assert found.state == "complete"


def test_a_layer_is_chosen_within_train_however_good_it_is_on_test(files, tmp_path):
    one = files("one", {"overfit": (separated(0.1, 0), separated(30.0, 1)), "honest": 3.0})
    found = rank(tmp_path / "out", one, files("two", {"x": 3.0}))
    row = found.networks.set_index("network").loc["one"]
    assert row["layer"] == "overfit"
    values = found.layers.set_index("layer")["value"]
    assert row["value"] == values["overfit"] < values["honest"]


def test_a_layer_with_many_tied_samples_is_no_candidate(files, tmp_path):
    """One-hot labels separate the classes perfectly, and all samples of a class lie on one point."""
    points = np.eye(CLASSES, dtype=np.float32)[LABELS]
    one = files("one", {"points": (points, points), "honest": 3.0})
    found = rank(tmp_path / "out", one, files("two", {"x": 3.0}))
    assert found.networks.set_index("network").loc["one", "layer"] == "honest"
    assert any("one: At layer points, 100% of the samples" in text for text in found.info["cautions"])
    with pytest.raises(StudyError, match="The network tied must have a layer where at most 5% of the samples"):
        rank(tmp_path / "none", files("tied", {"points": (points, points)}), files("two", {"x": 3.0}))


def test_a_network_whose_layers_are_all_tied_does_not_cost_the_others_their_ranking(files, tmp_path):
    points = np.eye(CLASSES, dtype=np.float32)[LABELS]
    networks = [files("a", {"x": 2.0}), files("tied", {"points": (points, points)}), files("b", {"x": 30.0})]
    found = rank(tmp_path / "out", *networks)
    assert found.networks["network"].tolist() == ["a", "b"]
    assert set(found.layers["network"]) == {"a", "b"}
    assert found.info["compared"]["num_comparisons"] == 1
    (why,) = [text for text in found.info["cautions"] if "is left out" in text]
    assert why.startswith("The network tied must have a layer where at most 5% of the samples")
    alone = rank(tmp_path / "alone", *networks[::2])
    pd.testing.assert_frame_equal(found.networks, alone.networks)


def test_too_few_networks_that_can_be_judged_are_refused_as_soon_as_that_is_known(files, tmp_path):
    points = np.eye(CLASSES, dtype=np.float32)[LABELS]
    tied, good = files("tied", {"points": (points, points)}), files("good", {"x": 2.0})
    with pytest.raises(StudyError, match=r"The network tied must .* at least two other networks; it has 1\."):
        rank(tmp_path / "out", tied, good)
    assert not (tmp_path / "out" / "good").exists()  # nothing more was computed
    assert load_ranking(tmp_path / "out").state == "partial"
    with pytest.raises(StudyError, match="the studies made so far are in"):
        rank(tmp_path / "last", good, tied)
    assert core.load_study(tmp_path / "last" / "good").state == "complete"


def test_certainly_worse_and_tied(files, tmp_path):
    """The interval is the paired one of the measures, for three comparisons."""
    found = rank(
        tmp_path / "out", *(files(name, {"x": spread}) for name, spread in {"a": 4.0, "b": 2.0, "c": 40.0}.items())
    )
    table = found.networks.set_index("network")
    assert list(table.index) == ["b", "a", "c"]
    assert list(table["rank"]) == [1, 2, 3]
    assert list(table["verdict"])[::2] == [BEST, WORSE]
    assert found.info["compared"]["num_comparisons"] == 3
    results = {
        name: core.cross_separation_index(separated(spread, 0), LABELS, separated(spread, 1), LABELS)
        for name, spread in {"b": 2.0, "c": 40.0}.items()
    }
    nodes = [np.column_stack([N + np.arange(N), result.nearest]) for result in results.values()]
    expected = paired_difference(
        *(result.by_sample for result in results.values()),
        LABELS,
        nodes_before=nodes[0],
        nodes_after=nodes[1],
    )
    worse = table.loc["c"]
    assert worse["difference"] == pytest.approx(results["c"].value - results["b"].value)
    assert (worse["difference_low"], worse["difference_high"]) == pytest.approx(expected.interval(1 - 0.05 / 3))
    assert worse["difference_high"] < 0
    assert worse["p_value"] == pytest.approx(expected.p_value)
    assert worse["confidence"] == pytest.approx(1 - 3 * expected.p_value)
    assert 0.95 < worse["confidence"] <= 1
    assert np.isnan(table.loc["b", "confidence"])


def test_equal_networks_are_tied_and_named_in_the_order_given(files, tmp_path):
    found = rank(tmp_path / "out", *(files(name, {"x": 4.0}) for name in ("second", "first")))
    assert list(found.networks["network"]) == ["second", "first"]
    assert list(found.networks["rank"]) == [1, 1]
    assert list(found.networks["verdict"]) == [BEST, TIE]
    row = found.networks.iloc[1]
    assert row["difference_low"] < row["difference"] == 0 < row["difference_high"]
    assert row["confidence"] == 0


def test_a_difference_may_be_certain_alone_and_not_among_many(files, tmp_path, monkeypatch):
    """p = 0.03 is enough for one comparison and not for three."""
    monkeypatch.setattr(PairedDifference, "p_value", property(lambda self: 0.03))
    several = {"a": 2.0, "b": 12.0, "c": 40.0}
    features = [files(name, {"x": spread}) for name, spread in several.items()]
    assert list(rank(tmp_path / "two", *features[:2]).networks["verdict"]) == [BEST, WORSE]
    three = rank(tmp_path / "three", *features).networks
    assert list(three["verdict"]) == [BEST, TIE, TIE]
    assert list(three["p_adjusted"][1:]) == pytest.approx([0.09, 0.09])


def test_one_split_is_ranked_within_and_pays_for_the_choice(files, tmp_path):
    one = files("one", {"x": 2.0, "y": 30.0, "z": 20.0}, test=False)
    found = rank(tmp_path / "out", one, files("two", {"x": 40.0, "y": 50.0}, test=False))
    assert found.info["compared"]["measure"] == found.info["compared"]["chosen_by"] == "separation"
    assert found.info["compared"]["num_comparisons"] == 6
    assert "by which the layer of each was chosen too" in found.info["cautions"][0]
    assert list(found.networks["verdict"]) == [BEST, WORSE]
    assert (found.layers["value"] == found.layers["within"]).all()
    criterion = ranking.choose_criterion(found.study("one"), "mean")
    assert num_comparisons(pd.DataFrame({"network": list("aaabbc")}), criterion) == 3 * 2 + 3 * 1 + 2 * 1


def test_what_stopped_goes_on_and_ends_the_same(files, tmp_path, monkeypatch):
    features = [files("a", {"x": 2.0}), files("b", {"x": 4.0, "y": 8.0})]
    whole = rank(tmp_path / "whole", *features)
    told = []

    def interrupt(progress):
        told.append(progress.stage)
        if progress.stage == "b, measuring in y":
            raise KeyboardInterrupt

    options = RankOptions(features=tuple(features), neighbors=1, probe=False)
    with pytest.raises(KeyboardInterrupt):
        rank_networks(options, tmp_path / "parted", progress=interrupt)
    left = load_ranking(tmp_path / "parted")
    assert left.state == "partial"
    assert left.networks.empty
    assert list(left.study("b").layers["layer"]) == ["x"]
    again = []
    found = rank_networks(options, tmp_path / "parted", progress=lambda progress: again.append(progress.stage))
    assert told == ["a, measuring in x", "b, measuring in x", "b, measuring in y"]
    assert "a, measuring in x" not in again
    for name in ("layers", "networks"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(whole, name))
    before = (tmp_path / "parted" / "ranking.json").read_bytes()
    assert rank_networks(options, tmp_path / "parted").state == "complete"
    assert (tmp_path / "parted" / "ranking.json").read_bytes() == before


def test_a_killed_run_is_partial(files, tmp_path):
    found = rank(tmp_path / "out", files("a", {"x": 2.0}), files("b", {"x": 4.0}))
    path = found.path / "ranking.json"
    path.write_text(json.dumps(dict(found.info) | {"state": "running"}))
    assert load_ranking(found.path).state == "partial"


def test_other_options_or_data_are_refused(files, tmp_path):
    features = [files("a", {"x": 2.0}), files("b", {"x": 4.0})]
    rank(tmp_path / "out", *features)
    with pytest.raises(StudyError, match=r"another ranking; it differs in seed: 0 → 1"):
        rank(tmp_path / "out", *features, seed=1)
    with pytest.raises(StudyError, match=r"another ranking; it differs in features\.c: None → "):
        rank(tmp_path / "out", *features, files("c", {"x": 4.0}))
    with pytest.raises(StudyError, match=r"another ranking; it differs in features\.b: "):
        rank(tmp_path / "out", features[0], files("b", {"x": 5.0}))
    with pytest.raises(StudyError, match=r"must be empty or hold a ranking; it has .*\.npz"):
        rank(tmp_path, *features)
    with pytest.raises(StudyError, match=r"must be a ranking's folder with a ranking\.json"):
        load_ranking(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": (LABELS + 1) % CLASSES}, r"b has class 1 and not 0 in row 0, sample 0"),
        ({"test": False}, r"b has 60 train and 0 test samples, not 60 train and 60 test samples"),
        ({"labels": LABELS + 1}, r"b has labels 1 to 5, not 0 to 4"),
    ],
)
def test_other_samples_are_refused_before_anything_is_computed(files, tmp_path, change, message):
    with pytest.raises(StudyError, match=message):
        rank(tmp_path / "out", files("a", {"x": 2.0}), files("b", {"x": 4.0}, **change))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]  # so that a correct one may go there


def shuffled(folder: Path, name: str, *, ids: np.ndarray | None, seed: int) -> FeatureFiles:
    """The same features under any name and seed, in an order of their own; ids : of the samples in first order."""
    for part, split in enumerate(("train", "test")):
        order = np.random.default_rng((seed, part)).permutation(N)
        names = {} if ids is None else {"ids": np.char.add(ids, f"-{split}")[order]}
        np.savez(folder / f"{name}-{split}.npz", labels=LABELS[order], x=separated(4.0, part)[order], **names)
    return FeatureFiles(name, str(folder / f"{name}-train.npz"), test=str(folder / f"{name}-test.npz"))


NAMES = np.array([f"image {number}" for number in range(N)])


def test_samples_are_paired_by_id_whatever_their_order(tmp_path):
    found = rank(tmp_path / "out", *(shuffled(tmp_path, name, ids=NAMES, seed=at) for at, name in enumerate("ab")))
    assert found.networks["difference"].tolist() == [0, 0]
    low, high = found.networks.loc[1, ["difference_low", "difference_high"]]
    assert -0.05 < low < 0 < high < 0.05  # no sample changed: the interval is that of identical scores
    first, second = (found.study(name).samples for name in "ab")
    pd.testing.assert_frame_equal(first, second)
    assert first["id"].str.endswith("-train").sum() == N
    assert (first["label"].to_numpy()[:N] == LABELS[[int(name.split()[1][:-6]) for name in first["id"][:N]]]).all()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (None, r"must have ids in all files, or in none, where.*; b has none"),
        (
            np.char.replace(NAMES, "image 7", "photo"),
            r"b has no train sample 'image 7-train' \(\d+ are missing\), but 'photo",
        ),
        (np.where(NAMES == "image 7", "image 8", NAMES), r"ids in .*b-train.npz must be distinct; got 'image 8-train'"),
    ],
)
def test_ids_that_differ_are_refused(tmp_path, ids, message):
    with pytest.raises(ValueError, match=message):
        rank(tmp_path / "out", shuffled(tmp_path, "a", ids=NAMES, seed=0), shuffled(tmp_path, "b", ids=ids, seed=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"at least two networks to rank; got 0"),
        ({"data": "digits", "models": ("pixels",)}, r"at least two networks to rank; got 1\. `python -m core study`"),
        ({"models": ("pixels", "efficientnet-lite0")}, r"models must go with data.*got networks without data"),
        (
            {"data": "digits"},
            r"models must go with data.*got data without networks.* such as --models .*-lite0,pixels and",
        ),
        ({"data": "digits", "models": ("pixels", "pixels")}, r"names of their own; got pixels twice"),
        ({"data": "digits", "models": ("pixels",), "pooling": "both"}, r"pooling must be mean or flat; got 'both'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        RankOptions(**options)


def test_a_name_must_do_for_a_folder():
    with pytest.raises(ValueError, match=r"must have a name of letters.*got '\.\./x'"):
        FeatureFiles("../x", "x.npz")


def test_the_command_asks_for_the_same():
    features = (FeatureFiles("vit", "a b.npz", "y.npy", "t.npz", "ty.npy", "names.txt"),)
    options = RankOptions("dogs", ("x", "y.keras"), features, layers="main", per_class=5, probe=False)
    assert options.command("out") == (
        "python -m core rank dogs --out out --models x,y.keras --layers main --per-class 5 --no-probe "
        "--features 'vit=a b.npz' --test vit=t.npz --labels y.npy --test-labels ty.npy --ids names.txt"
    )
    assert options.names == ["x", "y", "vit"]


@pytest.mark.shared
def test_dogs_with_a_network_pixels_and_features(dogs_dir, tmp_path):
    """Pre-trained Lite0 is certainly better than the pixels, and than noise that comes as features."""
    few = tmp_path / "few"
    breeds = sorted(path.name for path in (dogs_dir / "train").iterdir())[::15]
    for split in ("train", "test"):
        for breed in breeds:
            (few / split).mkdir(parents=True, exist_ok=True)
            (few / split / breed).symlink_to(dogs_dir / split / breed)
    options = RankOptions(
        str(few), ("pixels", "efficientnet-lite0"), layers="stem_conv,avg_pool", per_class=4, probe=False
    )
    found = rank_networks(options, tmp_path / "out")
    table = found.networks.set_index("network")
    assert list(table.index) == ["efficientnet-lite0", "pixels"]
    assert list(table["layer"]) == ["avg_pool", "input"]
    assert list(table["verdict"]) == [BEST, WORSE]
    assert table.loc["pixels", "cumulative_parameters"] == table.loc["pixels", "seconds"] == 0
    assert table.loc["efficientnet-lite0", "cumulative_parameters"] > 3e6
    seconds = found.layers.set_index("layer")["seconds"]
    assert 0 < seconds["stem_conv"] < seconds["avg_pool"]
    assert any("trained on these very images" in caution for caution in found.info["cautions"])

    samples = found.study("pixels").samples
    noise = np.random.default_rng(0).normal(size=(len(samples), 3)).astype("f4")
    for split in ("train", "test"):
        rows = (samples["split"] == split).to_numpy()
        classes = np.array(samples["class_name"].astype(str)[rows], dtype=np.str_)
        np.savez(tmp_path / f"{split}.npz", labels=classes, x=noise[rows])
    random = FeatureFiles("random", str(tmp_path / "train.npz"), test=str(tmp_path / "test.npz"))
    networks = ("efficientnet-lite0", "pixels")
    options = RankOptions(str(few), networks, (random,), layers="avg_pool", per_class=4, probe=False)
    found = rank_networks(options, tmp_path / "three")
    assert list(found.networks["verdict"]) == [BEST, WORSE, WORSE]
    assert set(found.networks["network"][1:]) == {"pixels", "random"}
    assert found.info["compared"]["num_comparisons"] == 3
    assert list(found.study("random").samples["id"]) == list(samples["id"])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.5, 0.4), ""),
        ((0.5, 0.27), "not clearly above chance: b"),
        ((0.32, 0.27), "no network is clearly above chance (a, b): nothing follows from their order"),
    ],
)
def test_networks_at_chance_are_not_ranked_in_silence(values, text):
    """Of 120 samples at chance 0.25 a standard error is 0.04: 0.37 is three of them above it."""
    networks = pd.DataFrame({"network": ["a", "b"], "value": values, "chance": 0.25})
    networks = networks.assign(low=networks["value"] - 0.08, high=networks["value"] + 0.08)
    assert at_chance_text(networks, 120) == text
