"""The map of the samples by a neighbor embedding: each layer's begins from the one before it."""

import numpy as np
import pytest

import core
from core.study.measuring.embedding import components_row, embed
from core.study.measuring.planes import align_plane, normalize_plane
from core.study.store.opening import finished_layers

NUM_CLASSES, NUM_SAMPLES = 3, 60
LABELS = [number % NUM_CLASSES for number in range(NUM_SAMPLES)]
SPLITS = ["train" if number < 40 else "test" for number in range(NUM_SAMPLES)]


def layers_of(num_layers: int = 3) -> dict[str, np.ndarray]:
    """Classes that come apart from layer to layer, in 8 dimensions."""
    rng = np.random.default_rng(0)
    centers = 10 * np.eye(NUM_CLASSES, 8)[LABELS]
    noise = rng.normal(size=(NUM_SAMPLES, 8))
    return {f"layer{number}": (number * centers + noise).astype(np.float32) for number in range(num_layers)}


def write(folder, layers, *, until=None, projection="tsne"):
    """A study of features that may be interrupted after some layers."""
    with core.FeatureStudyWriter(folder, LABELS, splits=SPLITS, projection=projection) as writer:
        for name, features in layers.items():
            if name not in writer.finished():
                writer.add_layer(name, features)
            if name == until:
                raise KeyboardInterrupt
    return core.load_study(folder)


def planes_of(study) -> dict[str, np.ndarray]:
    groups = study.projection.groupby("layer", observed=True, sort=False)
    return {str(name): rows[["x", "y"]].to_numpy() for name, rows in groups}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write(tmp_path_factory.mktemp("maps") / "study", layers_of())


def test_a_turned_and_larger_plane_is_laid_on_its_reference_and_one_of_one_point_is_zero():
    reference = normalize_plane(np.array([[0.0, 0], [4, 0], [4, 1], [0, 1]]))
    np.testing.assert_allclose((reference**2).sum(axis=1).mean(), 1)
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])  # with a reflection
    np.testing.assert_allclose(align_plane(normalize_plane(reference @ turn * 7 + 3), reference), reference, atol=1e-9)
    assert (normalize_plane(np.full((3, 2), 5.0)) == 0).all()
    np.testing.assert_array_equal(align_plane(reference, np.zeros((4, 2))), reference)


def test_components_are_of_size_one_whatever_the_features_are():
    features = layers_of()["layer2"].astype(np.float64)
    scores = components_row(features)["scores"][0]
    assert np.abs(scores).max() == 1
    for factor in (1e-30, 1e30):
        np.testing.assert_allclose(components_row(factor * features)["scores"][0], scores, atol=1e-6)


def test_classes_far_apart_are_apart_on_the_map_of_all_splits(study):
    plane = planes_of(study)["layer2"]
    labels = np.array(LABELS)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    np.testing.assert_allclose(plane.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose((plane**2).sum(axis=1).mean(), 1, rtol=1e-4)
    assert study.info["used"]["map"]["method"] == "t-SNE"
    assert not list(study.path.glob("components*"))


def test_the_map_is_the_same_after_an_interruption_and_in_a_study_measured_out_of_order(study, tmp_path):
    layers = layers_of()
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "resumed", layers, until="layer1")
    assert set(planes_of(core.load_study(tmp_path / "resumed"))) == {"layer0", "layer1"}  # by components until then
    assert write(tmp_path / "resumed", layers).projection.equals(study.projection)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "disordered", layers, until="layer2")
    (tmp_path / "disordered" / "parts" / "00001").rename(tmp_path / "late")
    assert finished_layers(tmp_path / "disordered") == {"layer0", "layer2"}
    (tmp_path / "late").rename(tmp_path / "disordered" / "parts" / "00001")
    assert write(tmp_path / "disordered", layers).projection.equals(study.projection)


def test_embeddings_that_an_interrupted_end_has_written_are_kept(study, tmp_path, monkeypatch):
    calls = []

    def stops(scores, start=None, *, seed=0):
        calls.append(len(scores))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return embed(scores, start, seed=seed)

    monkeypatch.setattr("core.study.measuring.embedding.embed", stops)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "study", layers_of())
    assert core.load_study(tmp_path / "study").state == "partial"
    resumed = write(tmp_path / "study", layers_of())
    assert len(calls) == 4  # the first layer once, the second again
    assert resumed.projection.equals(study.projection)


def test_equal_layers_stay_put_and_similar_ones_move_little(tmp_path):
    layers = layers_of()
    last = layers["layer2"]
    turned = last @ np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0].astype(np.float32)
    planes = planes_of(write(tmp_path / "study", layers | {"same": last, "turned": turned}))
    np.testing.assert_array_equal(planes["same"], planes["layer2"])
    moved = np.linalg.norm(planes["turned"] - planes["layer2"], axis=1)
    assert np.median(moved) < 0.2  # of a map whose root mean square radius is 1


@pytest.mark.parametrize("num_samples", [2, 4, 5, 7])
def test_few_samples(tmp_path, num_samples):
    features = np.random.default_rng(0).normal(size=(num_samples, 3))
    with core.FeatureStudyWriter(tmp_path / "study", [0, 1, 0, 1, 0, 1, 0][:num_samples], projection="tsne") as writer:
        writer.add_layer("head", features)
    assert np.isfinite(planes_of(core.load_study(tmp_path / "study"))["head"]).all()


@pytest.mark.parametrize(
    "features",
    [
        np.repeat(np.random.default_rng(0).normal(size=(5, 4)), 8, axis=0),
        np.random.default_rng(0).normal(size=(40, 2)),
        np.random.default_rng(0).normal(size=(40, 1)),
    ],
    ids=["equal rows", "a plane", "a line"],
)
def test_degenerate_features(features):
    row = components_row(features).iloc[0]
    plane = embed(np.float32(row["scores"]).reshape(len(features), -1))
    assert plane.shape == (len(features), 2)
    assert np.isfinite(plane).all()
    assert plane.std(axis=0).min() > 0.01  # no line


def test_constant_layers_have_no_map_and_the_next_starts_from_the_one_before(tmp_path):
    layers = layers_of()
    constant = {"layer0": layers["layer0"], "constant": np.ones((NUM_SAMPLES, 3)), "layer1": layers["layer1"]}
    study = write(tmp_path / "study", constant)
    assert list(planes_of(study)) == ["layer0", "layer1"]
    without = {name: layers[name] for name in ("layer0", "layer1")}
    expected = planes_of(write(tmp_path / "without", without))
    np.testing.assert_array_equal(planes_of(study)["layer1"], expected["layer1"])


def test_a_golden_small_map():
    """Two pairs of three samples: each sample's nearest on the map is of its own group, as on the line."""
    scores = np.float32([[-1.0], [-0.98], [-0.96], [0.96], [0.98], [1.0]])
    plane = embed(scores, seed=0)
    assert (np.sign(plane[:, 0]) == [-1, -1, -1, 1, 1, 1]).all()
    np.testing.assert_array_equal(plane, embed(scores, seed=0))
