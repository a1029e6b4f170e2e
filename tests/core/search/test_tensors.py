"""Tensors of PyTorch, TensorFlow and JAX as features and labels, and targets that are no labels."""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core.search.tensors import as_array

FEATURES = np.float32([[0, 1], [0, 1.5], [4, 2], [4, 2.5], [0.5, 1]])
LABELS = np.array([0, 0, 1, 1, 0])
LIBRARIES = [
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("jax.numpy", marks=pytest.mark.torch),  # in the same environment
    "tensorflow",
]


def library(name: str) -> Any:
    is_required = os.environ.get("REQUIRE_TORCH") == "1" and name != "tensorflow"
    return importlib.import_module(name) if is_required else pytest.importorskip(name)


def tensor(name: str, values: Any, dtype: str) -> Any:
    module = library(name)
    make = {"torch": "tensor", "jax.numpy": "asarray", "tensorflow": "constant"}[name]
    return getattr(module, make)(values, dtype=getattr(module, dtype))


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
def test_tensors_are_taken_as_they_are(name: str, dtype: str):
    array = as_array(tensor(name, FEATURES.astype(int) if dtype == "int32" else FEATURES, dtype))
    expected = {"float32": np.float32, "float16": np.float16, "bfloat16": np.float32, "int32": np.int32}[dtype]
    assert array.dtype == expected
    np.testing.assert_array_equal(array, FEATURES.astype(int) if dtype == "int32" else FEATURES)


@pytest.mark.parametrize("name", LIBRARIES)
def test_measures_and_studies_of_tensors(tmp_path: Path, name: str):
    features, labels = tensor(name, FEATURES, "bfloat16"), tensor(name, LABELS, "int32")
    expected = core.separation_index(FEATURES, LABELS)
    assert core.separation_index(features, labels).by_sample.tolist() == expected.by_sample.tolist() == [1.0] * 5
    assert core.cross_separation_index(features, labels, features, labels).value == 1
    assert core.center_separation_index(features, labels).value == core.center_separation_index(FEATURES, LABELS).value
    assert core.silhouette(features, labels).value == core.silhouette(FEATURES, LABELS).value
    assert core.smoothness_index(features, tensor(name, FEATURES[:, 1], "float32")).value == pytest.approx(0.9, abs=0.1)
    study = core.study_from_features({"layer": features}, labels, out=tmp_path / "study")
    assert study.layers["output_shape"].map(list).tolist() == [[2]]
    assert study.samples["label"].tolist() == LABELS.tolist()


@pytest.mark.torch
def test_torch_tensors_that_numpy_does_not_read():
    torch = library("torch")
    features = torch.tensor(FEATURES, requires_grad=True) * 1  # in a graph
    assert as_array(features).tolist() == FEATURES.tolist()
    assert as_array(torch.tensor(FEATURES).neg()._neg_view()).tolist() == FEATURES.tolist()
    assert as_array([torch.tensor([1.0], requires_grad=True), torch.tensor([2.0])]).tolist() == [[1.0], [2.0]]
    assert as_array([torch.tensor(3), torch.tensor(4)]).tolist() == [3, 4]
    with pytest.raises(ValueError, match="features must be an array of one shape; got: a tensor on the meta device"):
        core.separation_index(torch.zeros(5, 2, device="meta"), LABELS)
    with pytest.raises(ValueError, match=r"features must be an array of one shape; got: .*to_dense"):
        core.separation_index(torch.eye(5).to_sparse(), LABELS)


@pytest.mark.filterwarnings("ignore::UserWarning")  # that quantized tensors will go
@pytest.mark.torch
def test_quantized_torch_tensors_have_the_values_they_stand_for():
    torch = library("torch")
    quantized = torch.quantize_per_tensor(torch.tensor([[0.5, 1.0], [1.5, 2.0]]), 0.5, 0, torch.qint8)
    assert as_array(quantized).tolist() == [[0.5, 1.0], [1.5, 2.0]]


def test_arrays_are_not_copied(tmp_path: Path):
    assert as_array(FEATURES) is FEATURES
    np.save(tmp_path / "features.npy", FEATURES)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert as_array(mapped) is mapped


class OnlyDlpack:
    def __dlpack__(self, **options: Any) -> Any:
        return FEATURES.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return FEATURES.__dlpack_device__()


class OnAnotherDevice:
    """As arrays of CuPy."""

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use `.get()`.")


def test_other_arrays():
    assert as_array(OnlyDlpack()).tolist() == FEATURES.tolist()
    with pytest.raises(ValueError, match=r"features must be an array of one shape; got: Implicit .* Use `\.get\(\)`"):
        core.separation_index(OnAnotherDevice(), LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(3)[[0, 0, 1, 2, 1]], "got float64 of shape (5, 3), one-hot rows. Pass labels.argmax(axis=1)."),
        (np.eye(3, dtype=int)[[0, 0, 1, 2, 1]], "one-hot rows. Pass labels.argmax(axis=1)."),
        (np.eye(2, dtype=bool)[[0, 0, 1, 1, 1]], "one-hot rows. Pass labels.argmax(axis=1)."),
        (LABELS[:, None], "got int64 of shape (5, 1), a column. Pass labels.reshape(-1), as integers."),
        (LABELS[:, None].astype(float), "a column. Pass labels.reshape(-1), as integers."),
        (
            LABELS.astype(float),
            "whole numbers stored as floats. Convert them with labels.astype(int), or labels.long()",
        ),
        ([0.5, 0, 1, 1, 0], "targets of a regression. Measure such targets with core.smoothness_index(features,"),
        ([[0.5], [0], [1], [1], [0]], "targets of a regression. Measure such"),
        ([[1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]], "several labels a sample (multi-label); SI needs a"),
        ([[0.9, 0.1]] * 5, "probabilities of classes. Pass labels.argmax(axis=1)."),
        ([[0.9, 4.0]] * 5, "2 targets a sample, as of a regression. Measure such targets with core.smoothness_index"),
        ([np.nan, 0, 1, 1, 0], "targets of a regression."),
        (np.zeros((5, 2, 2), int), "got int64 of shape (5, 2, 2)."),
    ],
)
def test_targets_that_are_no_labels_are_named_as_what_they_are(tmp_path: Path, labels: Any, message: str):
    with pytest.raises(ValueError, match="labels must be integers or strings of shape") as error:
        core.separation_index(FEATURES, labels)
    assert message in str(error.value)
    with pytest.raises(ValueError, match="labels must be integers or strings of shape") as error:
        core.study_from_features({"layer": FEATURES}, labels, out=tmp_path / "study")
    assert message in str(error.value)
