"""Places of samples on a plane: principal components against scikit-learn's, and the table of a study."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA

import core
from core.study.projection import check_projection, project


@pytest.mark.parametrize("shape", [(40, 7), (12, 60)], ids=["tall", "wide"])
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


def test_equal_samples_lie_on_each_other():
    assert (project(np.full((5, 3), 7.0)) == 0).all()


def test_unknown_and_uninstalled_methods_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"projection must be one of pca, umap, none; got 'tsne'"):
        check_projection("tsne")
    monkeypatch.setattr("core.study.projection.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install umap-learn"):
        check_projection("umap")


def test_umap_gets_the_seed(monkeypatch):
    asked = {}

    class FakeUmap:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, features):
            return features[:, :2]

    monkeypatch.setattr("core.study.projection.find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    features = np.random.default_rng(0).normal(size=(30, 4))
    np.testing.assert_array_equal(project(features, "umap", seed=3), features[:, :2].astype(np.float32))
    assert asked["random_state"] == 3
    assert asked["n_neighbors"] == 15


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
