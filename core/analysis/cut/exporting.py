"""A study's network, cut at a layer, as a file that Keras loads by itself, with a classifier on top where asked for."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.measures.baselines import fit_linear_scores
from core.measures.significance import wilson
from core.network.activations import stream_pass
from core.network.catalogue import LayerInfo, catalogue
from core.network.cutting import cut_network, known_layer, linear_head, nearest_head, with_head
from core.network.models.registry import Network
from core.network.passes import Pass
from core.study.plan import Plan, Progress, Report
from core.study.reopening import reopen_network, reopen_plan
from core.study.samples import StudySamples
from core.study.store.opening import Study, StudyError
from core.study.store.writing import write_json

if TYPE_CHECKING:
    import keras

HEADS = ("probe", "nearest")
TOLERANCE = 1e-5  # of the largest activation, or of 1 where that is smaller
_CHECKED = 8  # images on which a file is compared with the network


@dataclass(frozen=True)
class Export:
    """A cut network on disk.

    Attributes
    ----------
    path, layer, pooling, head
        The file, and what it holds; head None where it ends in features.
    shape
        Of what it gives for one image.
    parameters
        Numbers in its weights.
    largest_difference, largest_activation
        Between the file's features and those of the whole network on a few images, and the largest of the latter.
    checked_on
        Which images these were, in words.
    class_names
        In the order of the head's outputs; empty without a head.
    num_train, num_test, accuracy, low, high
        Of the head: training and test images, and the share of the latter named rightly, with Wilson's 95 % interval;
        nan where the study has no test images.
    """

    path: Path
    layer: str
    pooling: str
    head: str | None
    shape: tuple[int, ...]
    parameters: int
    largest_difference: float
    largest_activation: float
    checked_on: str
    class_names: tuple[str, ...] = ()
    num_train: int = 0
    num_test: int = 0
    accuracy: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def export_cut(
    study: Study,
    layer: str,
    out: str | os.PathLike[str],
    *,
    pooling: str = "mean",
    head: str | None = None,
    data: str | None = None,
    weights: str | None = None,
    progress: Report | None = None,
) -> Export:
    """Write the network of a study up to a layer to a `.keras` file, and what is known of it to a `.json` beside it.

    The file takes raw pixels, and gives features; with a head, a score a class, the largest of which wins. It is loaded
    again and compared with the network before this returns.

    Parameters
    ----------
    layer : a layer of the network, measured or not.
    out : the file; one of that name is replaced.
    pooling : "mean", "flat" or "none".
    head : "probe" (the study's ridge probe, as one dense layer), "nearest" (the nearest training sample's class) or
        None. Trained on the study's training images, tested on its test images.
    data, weights : where the study's images and `.keras` file lie now; default where they lay.

    Raises
    ------
    ValueError
        An unknown layer, pooling or head, a file that does not end in `.keras`.
    StudyError
        The study has no network, or no training images for the head; network or images are gone or others by now.
    RuntimeError
        The file's activations are not those of the network.
    """
    path = Path(out)
    if path.suffix != ".keras":
        raise ValueError(f"out must be a file that ends in .keras; got {path.name!r}.")
    if head not in (None, *HEADS):
        raise ValueError(f"head must be one of {', '.join(HEADS)}; got {head!r}.")
    if head and pooling == "none":
        raise ValueError("pooling must be mean or flat where there is a head; got 'none'. Choose mean.")
    plan = reopen_plan(study, data=data, weights=weights, progress=progress) if head else None
    network = plan.network if plan else reopen_network(study, weights=weights)
    assert network is not None, "reopening refuses studies without a network"
    infos = {info.layer: info for info in catalogue(network.model)}
    info = infos[known_layer(layer, infos)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = cut_network(network.model, layer, pooling=pooling)
    if plan is None:
        cut.save(path)
        pixels = np.random.default_rng(0).uniform(0, 255, (_CHECKED, *network.input_size, 3)).astype(np.float32)
        export = _checked(path, network, info, pooling, pixels, f"{_CHECKED} images of random pixels")
    else:
        export = _export_with_head(plan, network, info, cut, path, pooling, str(head), progress)
    write_json(path.with_suffix(".json"), _record(study, network, export))
    return export


def _export_with_head(
    plan: Plan,
    network: Network,
    info: LayerInfo,
    cut: "keras.Model",
    path: Path,
    pooling: str,
    head: str,
    progress: Report | None,
) -> Export:
    """Train the head on the activations of the training images, and test it on those of the test images."""
    samples = plan.samples
    train, test = samples.rows("train"), samples.rows("test")
    if not len(train):
        raise StudyError("The study has no training images to make a head of. Run it with --split both.")
    load = partial(_load, plan, network)
    features = _activations(network, info, pooling, load, len(samples), plan.options.batch_size, progress)
    trained, classes = _trained(head, features[train], samples.labels[train])
    with_head(cut, trained).save(path)
    rows = (test if len(test) else train)[:_CHECKED]
    pixels = plan.images.load(rows, network.input_size)
    export = _checked(path, network, info, pooling, pixels, f"{len(rows)} of the study's images", headed=True)
    names = tuple(samples.class_names[code] for code in classes)
    scored = _scored(trained, features[test], samples, test, classes) if len(test) else {}
    return replace(export, head=head, class_names=names, num_train=len(train), **scored)


def _trained(head: str, features: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """The head, and the label that each of its outputs stands for."""
    if head == "probe":
        found = fit_linear_scores(features, labels)
        return linear_head(found.weights, found.offsets), np.asarray(found.classes, np.int64)
    classes, codes = np.unique(labels, return_inverse=True)
    return nearest_head(features, codes, len(classes)), classes


def _scored(
    head: Any, features: NDArray[np.float32], samples: StudySamples, test: NDArray[np.int64], classes: NDArray[np.int64]
) -> dict[str, Any]:
    """How many test images the head names rightly."""
    named = classes[np.argmax(head.predict(features, verbose=0), axis=1)]
    accuracy = float((named == samples.labels[test]).mean())
    low, high = wilson(accuracy, len(test))
    return {"num_test": len(test), "accuracy": accuracy, "low": low, "high": high}


def _checked(
    path: Path,
    network: Network,
    info: LayerInfo,
    pooling: str,
    pixels: NDArray[np.float32],
    checked_on: str,
    *,
    headed: bool = False,
) -> Export:
    """Load the file again, and compare what it gives with the network's activations, as a study computes them."""
    import keras

    loaded = keras.models.load_model(path, compile=False)
    features = keras.Model(loaded.inputs[0], loaded.operations[-2].output) if headed else loaded  # the head comes last
    given = np.asarray(features(pixels, training=False)).reshape(len(pixels), -1)
    expected = _activations(network, info, pooling, lambda rows: pixels[rows], len(pixels), len(pixels), None)
    difference = float(np.abs(given - expected).max())
    largest = float(np.abs(expected).max())
    if difference > TOLERANCE * max(1.0, largest):
        raise RuntimeError(
            f"{path} gives other numbers than the network: they differ by up to {difference:.2g}, where the largest is "
            f"{largest:.2g}. Please report this with the network's name."
        )
    shape = tuple(loaded.outputs[0].shape[1:])
    return Export(path, info.layer, pooling, None, shape, loaded.count_params(), difference, largest, checked_on)


def _load(plan: Plan, network: Network, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return plan.images.load(rows, network.input_size)


def _activations(
    network: Network,
    info: LayerInfo,
    pooling: str,
    load: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    num_samples: int,
    batch_size: int,
    progress: Report | None,
) -> NDArray[np.float32]:
    """The layer's activations as a study streams them, shape (n, d)."""
    kind = "mean" if pooling == "mean" and info.spatial else "flat"
    found = stream_pass(
        network,
        Pass((info,), 0),
        load,
        num_samples,
        poolings=(kind,),
        batch_size=batch_size,
        progress=progress and (lambda done, total: progress(Progress("activations", done, total, "images"))),
    )
    return found[info.layer, kind]


def _record(study: Study, network: Network, export: Export) -> dict[str, Any]:
    """What the file beside the network says: how to use it, and where it comes from."""
    numbers = {name: getattr(export, name) for name in ("largest_difference", "accuracy", "low", "high")}
    return {
        "layer": export.layer,
        "pooling": export.pooling,
        "head": export.head,
        "expects": network.expects,
        "input_size": list(network.input_size),
        "output_shape": list(export.shape),
        "parameters": export.parameters,
        "classes": list(export.class_names),
        "num_train": export.num_train,
        "num_test": export.num_test,
        **{name: None if np.isnan(value) else value for name, value in numbers.items()},
        "network": {"name": network.name, "weights": network.weights, "weights_sha256": network.weights_sha256},
        "data": study.info.get("used", {}).get("data", {}),
    }
