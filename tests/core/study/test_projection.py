"""Places of samples on a plane: principal components against scikit-learn's, and the table of a study."""

import numpy as np
import pytest
from scipy.sparse.linalg import ArpackNoConvergence
from sklearn.decomposition import PCA

import core
from core.study.measuring.projection import check_projection, principal_scores, project


@pytest.mark.parametrize(
    "shape", [(40, 7), (12, 60), (300, 80), (50, 300)], ids=["tall", "wide", "tall, large", "wide, large"]
)
def test_scores_of_principal_components(shape):
    features = np.random.default_rng(1).normal(size=shape) * np.linspace(4, 1, shape[1]) + 100
    found = project(features)
    expected = PCA(2, svd_solver="full").fit_transform(features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-4)
    assert (found[np.abs(found).argmax(axis=0), [0, 1]] > 0).all()  # the sign does not depend on the solver's


def test_points_on_a_line_have_no_second_coordinate():
    found = project(np.array([[0.0], [1.0], [5.0]]))
    np.testing.assert_allclose(found, [[-2, 0], [-1, 0], [3, 0]], atol=1e-6)


@pytest.mark.parametrize("width", [3, 50])
def test_samples_on_a_line_in_space_have_no_second_coordinate(width):
    places = project(np.outer(np.arange(100.0), np.ones(width)))
    np.testing.assert_allclose(abs(places[:, 0]), abs(np.sqrt(width) * (np.arange(100.0) - 49.5)), rtol=1e-6)
    np.testing.assert_allclose(places[:, 1], 0, atol=1e-4)


def test_an_iteration_that_does_not_converge_is_replaced(monkeypatch):
    features = np.random.default_rng(3).normal(size=(60, 40)) * np.linspace(4, 1, 40)
    expected = project(features)

    def fails(*_, **__):
        raise ArpackNoConvergence("no convergence", np.empty(0), np.empty((0, 0)))

    monkeypatch.setattr("core.study.measuring.projection.eigsh", fails)
    np.testing.assert_allclose(project(features), expected, atol=1e-5)


def test_equal_samples_lie_on_each_other():
    assert (project(np.full((5, 3), 7.0)) == 0).all()


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match=r"projection must be one of pca, tsne, none; got 'umap'"):
        check_projection("umap")


@pytest.mark.parametrize("shape", [(40, 7), (12, 60), (300, 200)], ids=["few features", "few samples", "many"])
def test_several_components(shape):
    features = np.random.default_rng(2).normal(size=shape) * np.linspace(4, 1, shape[1]) + 5
    expected = PCA(min(30, *shape), svd_solver="full").fit_transform(features)
    found = principal_scores(features, 30)
    assert found.shape[1] == min(30, *shape)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-6)


def test_a_study_has_the_places_of_all_samples_and_none_of_images_with_space(tmp_path):
    rng = np.random.default_rng(2)
    layers = {"maps": rng.normal(size=(9, 4, 4, 3)), "head": rng.normal(size=(9, 5))}
    splits = ["train"] * 5 + ["test"] * 4
    study = core.study_from_features(layers, list("ababababa"), out=tmp_path / "study", splits=splits)
    table = study.projection
    assert table["layer"].unique().tolist() == ["head"]
    assert table["sample"].tolist() == list(range(9))
    assert table["split"].tolist() == splits
    np.testing.assert_array_equal(table[["x", "y"]], project(layers["head"]))


def test_a_study_made_without_it_opens(tmp_path):
    with core.FeatureStudyWriter(tmp_path / "study", list("abab"), projection="none") as writer:
        writer.add_layer("head", np.arange(8.0).reshape(4, 2))
    assert core.load_study(tmp_path / "study").projection.empty
    assert not (tmp_path / "study" / "projection.parquet").exists()
