"""Neighbor overlap from stored neighbors: layer × layer, network × network."""

import numpy as np
import pytest

import core
from core.analysis.layer_overlap import neighbor_overlap
from core.analysis.result_tables import OVERLAPS
from core.measures.related.neighbor_overlap import neighbor_overlap as measured

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(50, 5))
LAYERS = {"maps": RNG.normal(size=(50, 2, 2, 3)), "first": FIRST, "second": FIRST + RNG.normal(size=(50, 5))}
SPLITS = np.where(np.arange(50) % 3 == 0, "train", "test")
TEST = SPLITS == "test"


def write(folder, layers, *, neighbors=10, ids=None):
    with core.FeatureStudyWriter(folder, [0, 1] * 25, splits=SPLITS, neighbors=neighbors, ids=ids) as writer:
        for name, features in layers.items():
            writer.add_layer(name, features)
    return core.load_study(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write(tmp_path_factory.mktemp("overlap") / "study", LAYERS)


def at(table, layer, other):
    return table[(table["layer"] == layer) & (table["other_layer"] == other)].iloc[0]


@pytest.mark.parametrize("k", [None, 1, 4])
def test_layers_against_the_measure(study, k):
    table = neighbor_overlap(study, k=k)
    assert list(table) == list(OVERLAPS.columns)
    assert set(table["layer"]) == {"first", "second"}
    graphs = [core.nearest_neighbors(LAYERS[name][TEST], k=k or 10).indices for name in ("first", "second")]
    expected = measured(*graphs)
    for pair in (("first", "second"), ("second", "first")):
        found = at(table, *pair)
        assert (found["value"], found["chance"]) == (expected.value, expected.chance)
        assert found["z"] == pytest.approx(expected.z, rel=1e-12)
        assert (found["k"], found["num_samples"]) == (k or 10, TEST.sum())
    assert at(table, "first", "first")["value"] == 1


def test_all_activations_and_the_other_split(study):
    table = neighbor_overlap(study, split="train", pooling="flat")
    assert table["layer"].unique().tolist() == ["maps", "first", "second"]
    assert (table["num_samples"] == (~TEST).sum()).all()


def test_networks_of_the_same_samples(study, tmp_path):
    other = write(tmp_path / "other", {"head": LAYERS["second"], "tail": FIRST * 2}, neighbors=4)
    table = neighbor_overlap(study, other)
    assert len(table) == 2 * 2
    assert at(table, "first", "tail")["value"] == 1
    assert at(table, "first", "head")["value"] == at(neighbor_overlap(study, k=4), "first", "second")["value"]
    assert (table["k"] == 4).all()


def test_studies_of_other_samples_are_refused(study, tmp_path):
    other = write(tmp_path / "other", LAYERS, ids=[f"other {number}" for number in range(50)])
    with pytest.raises(core.StudyError, match="before and after must be studies of the same samples"):
        neighbor_overlap(study, other)


def test_what_is_not_stored_is_named(study):
    with pytest.raises(core.StudyError, match="k must be from 1 to 10, the neighbors stored a sample; got 11"):
        neighbor_overlap(study, k=11)
    with pytest.raises(core.StudyError, match=r"split must be one .* got 'validation'. It has train and test"):
        neighbor_overlap(study, split="validation")


def test_a_study_that_asked_some_samples_has_no_spread(tmp_path):
    options = core.StudyOptions(
        "digits", model="pixels", pooling="flat", precision=0.05, probe=False, projection="none"
    )
    found = neighbor_overlap(core.run_study(options, tmp_path / "some"), split="train", pooling="flat")
    assert found["value"].tolist() == [1]
    assert found["num_samples"].iloc[0] < 1437
    assert found["chance"].iloc[0] == 10 / 1437
    assert found["z"].isna().all()
