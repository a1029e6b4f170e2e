"""Where to cut, on studies of values worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.comparing import LayersOfStudy
from core.analysis.cut.advice import CutCandidates, advise, cut_candidates, recommend_layer, with_seconds
from core.measures.noninferiority import corrected_level
from core.measures.paired import paired_difference
from core.report.words.cut import enough_tolerance, explanation, headline
from core.study.store.opening import StudyError, load_study
from core.study.store.writing import begin, end, write_layer

SAMPLES = 60
LABELS = np.arange(SAMPLES) % 3
COUNTS = (10, 49, 50, 51, 30)  # samples whose nearest agrees: far below the best, nearly it twice, the best, below it
KINDS = ("Conv2D", "Conv2D", "Add", "GlobalAveragePooling2D", "Dense")


def measured(layer: str, measure: str, value: float, split: str, pooling: str) -> dict[str, object]:
    row = {"split": split, "layer": layer, "pooling": pooling, "measure": measure, "repeat": 0, "sampling": "full"}
    interval = {"low": value - 0.1, "high": value + 0.1} if measure == "separation" else {}
    row |= {"num_queries": SAMPLES, "chance": 0.3}
    return row | {"order": 1, "target": "population", "metric": "euclidean", "ties": "first", "value": value} | interval


def write(
    folder: Path, counts=COUNTS, *, neighbors=True, split="test", pooling="mean", sizes=True, kinds=KINDS, num_tied=None
) -> Path:
    """A study of three classes, a layer for each count; who disagrees has the next class as its nearest."""
    folder.mkdir()
    samples = pd.DataFrame({"sample": np.arange(SAMPLES), "split": split, "label": LABELS, "class_name": "c"})
    samples = samples.assign(id=samples["sample"].astype(str), source="")
    info = begin(folder, {}, samples)
    for position, count in enumerate(counts):
        name, agrees = f"layer{position}", np.arange(SAMPLES) < count
        rows = [measured(name, "separation", count / SAMPLES, split, pooling)]
        rows[0] |= {"num_tied": num_tied[position]} if num_tied else {}
        rows.append(measured(name, "linear_probe", count / 100, split, pooling))
        row = {"position": position, "layer": name, "kind": kinds[position], "block": ""}
        row |= {"output_shape": [4] if position > 2 else [2, 2, 4]}
        row |= {"cumulative_parameters": 100 * position, "cumulative_flop": 1000 * position} if sizes else {}
        nearest = (np.arange(SAMPLES) + np.where(agrees, 3, 1)) % SAMPLES
        place = {"split": split, "layer": name, "pooling": pooling, "rank": 1, "nearest_split": split, "distance": 1.0}
        near = pd.DataFrame({"sample": np.arange(SAMPLES), "nearest": nearest, "same_label": agrees}).assign(**place)
        tables = {"layers": pd.DataFrame([row]), "measurements": pd.DataFrame(rows)}
        write_layer(folder, position, tables | ({"neighbors": near} if neighbors else {}))
    end(folder, info, complete=True)
    return folder


@pytest.fixture
def study(tmp_path):
    return load_study(write(tmp_path / "study"))


def test_the_best_and_the_earliest_within_the_tolerance(study):
    advice = advise(study, tolerance=0.2)
    assert (advice.best, advice.recommended) == ("layer3", "layer1")
    assert advice.layers["verdict"].tolist() == ["worse", "within", "within", "within"]  # the head is left out
    assert advice.layers["difference"].to_numpy() == pytest.approx((np.array(COUNTS[:4]) - 51) / SAMPLES)
    assert advice.layers["paired"].all()
    assert (advice.num_samples, advice.num_candidates) == (60, 4)


def test_another_tolerance_computes_no_interval_again(study, monkeypatch):
    computed, read, compare, read_table = [], [], LayersOfStudy.compare, core.Study.table

    def note_read(study, name, *how, **filters):
        read.append(name)
        return read_table(study, name, *how, **filters)

    monkeypatch.setattr(
        LayersOfStudy, "compare", lambda layers, pairs, **how: computed.extend(pairs) or compare(layers, pairs, **how)
    )
    candidates = CutCandidates.of(study)
    with monkeypatch.context() as patched:
        patched.setattr(core.Study, "table", note_read)
        for tolerance in (0.03, 0.2):
            candidates.advise(tolerance)
    assert read.count("neighbors") == 1
    for tolerance in (0.03, 0.2, 0.03, 0.3):
        at_once, anew = candidates.advise(tolerance), advise(study, tolerance=tolerance)
        assert (at_once.recommended, at_once.tolerance) == (anew.recommended, tolerance)
        pd.testing.assert_frame_equal(at_once.layers, anew.layers)
    computed.clear()
    candidates.advise(0.2)
    assert not computed


def test_few_samples_recommend_nothing_rather_than_a_deep_cut(study):
    """One sample of 60 more is wrong at layer 2 than at layer 3: that does not show that it is 0.03 at most."""
    advice = advise(study)
    assert advice.recommended is None
    assert advice.target == "layer3"
    assert headline(advice) == "60 test samples cannot decide where to cut"
    assert "What would decide: about 150 samples, if all values stayed as they are, or a tolerance of 0.07" in (
        explanation(advice)
    )
    assert advise(study, tolerance=0.07).recommended is not None


def test_what_lies_near_the_best_but_is_not_certain_is_named_as_such(study):
    advice = advise(study, tolerance=0.1)
    assert advice.recommended == "layer2"
    assert advice.undecided["layer"].tolist() == ["layer1"]
    assert "One earlier layer, `layer1`, is not ruled out: 60 test samples cannot decide" in explanation(advice)


@pytest.mark.parametrize(("counts", "separates"), [((19, 20, 21, 20), False), ((19, 20, 51, 20), True)])
def test_where_no_layer_is_clearly_above_chance_none_is_recommended(tmp_path, counts, separates):
    """Chance is 0.3, a tolerance of 0.3 would let a layer pass that knows nothing of the classes."""
    advice = advise(load_study(write(tmp_path / "study", counts)), tolerance=0.3)
    assert advice.separates == separates
    assert (advice.recommended is not None) == separates
    assert (headline(advice) == "No layer is certain to be 0.3 above chance") == (not separates)


def test_only_tolerances_that_name_a_layer_are_offered(tmp_path):
    """31 of 60 at the best layer, chance 0.3: certain to be above chance by less than what would name a layer."""
    study = load_study(write(tmp_path / "study", (30, 30, 31, 31), neighbors=False))
    advice = advise(study)
    assert advice.recommended is None
    assert advice.smallest_tolerance > advice.most_tolerance > 0
    assert enough_tolerance(advice) is None
    assert "a tolerance of" not in explanation(advice)
    for tolerance in (0.05, 0.1, 0.2, 0.3, 0.5):
        assert advise(study, tolerance=tolerance).recommended is None


def test_layers_with_many_tied_samples_are_no_candidates(tmp_path):
    """4 of 60 samples are more than 5%, 3 are not."""
    advice = advise(load_study(write(tmp_path / "some", num_tied=(0, 0, 3, 4, 0))), tolerance=0.2)
    assert (advice.best, advice.tied, advice.num_candidates) == ("layer2", ("layer3",), 3)
    assert "layer3" not in set(advice.layers["layer"])
    assert "Nothing is concluded from `layer3`: more than 5% of the samples have several neighbors" in explanation(
        advice
    )


def test_where_all_layers_have_many_tied_samples_none_is_recommended(tmp_path):
    advice = advise(load_study(write(tmp_path / "all", num_tied=(4,) * 5)), tolerance=0.2)
    assert (advice.best, advice.recommended, advice.separates) == ("layer3", None, False)
    assert (
        headline(advice) == "No layer is recommended: many samples have several nearest neighbors at the same distance"
    )
    assert "at each layer more than 5% of the samples have several neighbors" in explanation(advice)


def test_above_chance_is_as_strict_as_the_headline(tmp_path):
    """The best of 4 layers has 28 of 60, chance is 0.3: the interval of 0.47 ± 0.1 leaves chance out, but not by 3 of
    the standard errors of 0.059."""
    advice = advise(load_study(write(tmp_path / "study", (18, 18, 28, 20))), tolerance=0.01)
    assert not advice.separates
    assert advice.recommended is None


def test_what_a_cut_saves_and_costs(study):
    row = advise(study).row("layer1")
    assert (row["parameters"], row["flop"]) == (100, 1000)
    assert (row["parameters_saved"], row["flop_saved"]) == (0.75, 0.75)
    assert row["linear_probe"] == 0.49
    assert row["linear_probe_difference"] == pytest.approx(-0.02)
    assert np.isnan(row["seconds"])


def test_the_interval_is_the_paired_one_turned_round(study):
    near = study.neighbors
    one, best = (near[near["layer"] == name].sort_values("sample") for name in ("layer1", "layer3"))
    nodes = {"nodes_before": one[["sample", "nearest"]], "nodes_after": best[["sample", "nearest"]]}
    names = np.full(SAMPLES, "c")  # the study's classes bear one name, and names tell classes apart
    low, high = paired_difference(one["same_label"], best["same_label"], names, **nodes).interval(corrected_level(4))
    row = advise(study).row("layer1")
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((-high, min(-low, 0.0)))


def test_the_best_layer_may_be_below_another_one_that_is_not_certainly_worse(study):
    row = advise(study).row("layer3")
    assert (row["difference"], row["difference_high"]) == (0, 0)
    assert row["difference_low"] < 0


@pytest.mark.parametrize("tolerance", [0.03, 0.07, 0.1, 0.2])
@pytest.mark.parametrize("neighbors", [True, False])
def test_the_quick_way_recommends_the_same_layer(tmp_path, tolerance, neighbors):
    written = load_study(write(tmp_path / "study", neighbors=neighbors))
    quick, full = (choose(written, tolerance=tolerance) for choose in (recommend_layer, advise))
    assert (quick.recommended, quick.best) == (full.recommended, full.best)
    assert len(quick.layers) < len(full.layers)
    assert explanation(quick) == explanation(full)


def test_the_first_of_equally_high_layers_is_the_best(tmp_path):
    advice = recommend_layer(load_study(write(tmp_path / "study", (50, 50, 50))), tolerance=0.1)
    assert (advice.best, advice.recommended) == ("layer0", "layer0")


def test_without_neighbors_the_interval_is_wider_and_unpaired(tmp_path, study):
    advice = advise(load_study(write(tmp_path / "lean", neighbors=False)))
    assert not advice.row("layer1")["paired"]
    assert "not paired, since the study stores no neighbors" in explanation(
        advise(load_study(tmp_path / "lean"), tolerance=0.2)
    )
    assert advice.row("layer1")["difference_low"] < advise(study).row("layer1")["difference_low"]


def test_candidates_can_be_named(study):
    assert advise(study, layers=["layer0", "layer4"]).best == "layer4"
    with pytest.raises(StudyError, match="no separation, mean, of test samples at 'layer9'"):
        advise(study, layers=["layer0", "layer9"])


def test_a_study_that_does_not_say_how_many_samples_were_asked_has_all_of_them(tmp_path):
    folder = write(tmp_path / "study")
    table = pd.read_parquet(folder / "measurements.parquet").assign(num_queries=None)
    table.astype({"num_queries": "Int64"}).to_parquet(folder / "measurements.parquet")
    assert advise(load_study(folder)).num_samples == SAMPLES


def test_pixels_and_head_are_no_places_to_cut(study, tmp_path):
    assert cut_candidates(study) == ["layer0", "layer1", "layer2", "layer3"]
    features = core.study_from_features({"a": np.eye(4), "b": np.eye(4)}, [0, 0, 1, 1], out=tmp_path / "features")
    assert cut_candidates(features) == ["a", "b"]
    with_pixels = load_study(write(tmp_path / "pixels", kinds=("Input", *KINDS[1:])))
    assert cut_candidates(with_pixels) == ["layer1", "layer2", "layer3"]
    perceptron = load_study(write(tmp_path / "dense", kinds=(*KINDS[:3], "Dense", "Dense")))
    assert cut_candidates(perceptron) == ["layer0", "layer1", "layer2", "layer3"]  # hidden dense layers are none


def test_seconds_are_joined_to_the_layers_that_were_timed(study):
    timing = {"seconds": {"layer1": 0.25, "layer4": 1.0}, "rounds": {"layer1": [0.25], "layer4": [1.0]}}
    table = with_seconds(advise(study), timing).layers.set_index("layer")
    assert table["seconds_saved"]["layer1"] == 0.75
    assert table["seconds"].isna().tolist() == [True, False, True, True]


def test_a_study_of_features_has_no_network(tmp_path):
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    layers = {"near": rng.normal(size=(40, 3)), "far": rng.normal(size=(40, 3)) + 9 * labels[:, None]}
    advice = advise(core.study_from_features(layers, labels, out=tmp_path / "features"))
    assert (advice.best, advice.split) == ("far", "train")  # there are no test samples
    assert advice.row("near")["verdict"] == "worse"
    for column in ("parameters", "flop", "parameters_saved", "flop_saved", "seconds", "linear_probe"):
        assert advice.layers[column].isna().all(), column


def test_a_study_of_the_other_pooling_is_asked_about_that(tmp_path):
    assert advise(load_study(write(tmp_path / "flat", pooling="flat"))).pooling == "flat"


def test_a_study_of_features_knows_no_operations(tmp_path):
    folder = write(tmp_path / "features")
    table = pd.read_parquet(folder / "layers.parquet").assign(cumulative_flop=None)
    table.to_parquet(folder / "layers.parquet")
    layers = advise(load_study(folder)).layers
    assert layers["flop"].isna().all()
    assert layers["parameters"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "accuracy"}, "measure must be one of separation, cross; got 'accuracy'"),
        ({"measure": "cross"}, "has no cross, mean, of test samples"),
        ({"tolerance": 0}, "tolerance must lie above 0 and below 1, in units of the measure; got 0"),
        ({"tolerance": 3}, "tolerance must lie above 0 and below 1"),
    ],
)
def test_what_the_study_lacks_is_said(study, options, message):
    with pytest.raises(ValueError, match=message):
        advise(study, **options)


def test_an_unknown_row_is_refused(study):
    with pytest.raises(ValueError, match="layer must be one of the candidates, layer0"):
        advise(study).row("stem")
