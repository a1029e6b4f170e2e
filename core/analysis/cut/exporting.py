"""Export a study's network up to a layer, with an optional classifier on top, as a file that Keras alone can load."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.data.files import check_new_file, make_folder
from core.measures.baselines import fit_linear_scores
from core.measures.significance import wilson
from core.network.activations import stream_pass
from core.network.catalogue import LayerInfo, catalogue, with_tokens
from core.network.cutting import cut_network, known_layer, linear_head, nearest_head, with_head
from core.network.models.custom_layers import make_restorable
from core.network.models.registry import Network
from core.network.passes import Pass
from core.study.plan import Plan, Progress, Report
from core.study.reopening import reopen_network, reopen_plan
from core.study.store.opening import Study, StudyError
from core.study.store.writing import write_json

if TYPE_CHECKING:
    import keras

HEADS = ("probe", "nearest")
ACTIVATION_TOLERANCE = (
    1e-5  # largest difference of activations, as a share of the largest activation or, if larger, of 1
)
_NUM_CHECKED = 8  # images on which a file is compared with the network


@dataclass(frozen=True)
class Export:
    """A cut network on disk.

    Attributes
    ----------
    path : Path
        The file.
    layer, pooling : str
        The layer at which the network was cut, and how its activations are pooled.
    head : str or None
        The kind of the classifier on top; None where the output is features.
    shape : tuple of int
        Shape of the output for one image.
    parameters : int
        Number of parameters.
    largest_difference : float
        Largest absolute difference between the features of the file and those of the whole network on a few images.
    largest_activation : float
        Largest absolute activation of the whole network on these images.
    checked_on : str
        Description of these images.
    class_names : tuple of str
        The classes in the order of the head's outputs; empty without a head.
    num_train, num_test : int
        Number of images on which the head was trained and tested.
    accuracy, low, high : float
        Accuracy of the head on the test images, with Wilson's 95% interval; nan without test images.
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


@dataclass(frozen=True, eq=False)
class _Cut:
    """A layer of a network, and how its activations are pooled."""

    network: Network
    info: LayerInfo
    pooling: str


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
    """Write the network of a study up to a layer to a `.keras` file, and its description to a `.json` file beside it.

    The input of the model is raw pixels. Its output is features or, with a head, one score a class, the largest of
    which is the prediction. Before the function returns, the file is loaded again and compared with the network.

    Parameters
    ----------
    study : Study
    layer : str
        A layer of the network, measured or not.
    out : path
        The file to write; an existing one is replaced.
    pooling : {"mean", "flat", "none"}
        Channel means, all activations as a vector, or the activations with their spatial extent.
    head : {"probe", "nearest"}, optional
        The study's ridge probe as a dense layer, or the class of the nearest training sample; default no head. It is
        trained on the study's training images and tested on its test images.
    data, weights : str, optional
        Where the study's images and its `.keras` file are now; default where they were.
    progress : callable, optional
        Called with a `Progress` from time to time.

    Raises
    ------
    ValueError
        Unknown layer, pooling or head, or a file that does not end in `.keras` or cannot be written.
    StudyError
        The study has no network, or no training images for the head; the network or the images are missing or have
        changed.
    RuntimeError
        The file's activations are not those of the network.
    """
    path = cut_file(out)
    if head not in (None, *HEADS):
        raise ValueError(f"head must be one of {', '.join(HEADS)}; got {head!r}.")
    if head and pooling == "none":
        raise ValueError("pooling must be mean or flat where there is a head; got 'none'. Choose mean.")
    plan = reopen_plan(study, data=data, weights=weights, progress=progress) if head else None
    network = plan.network if plan else reopen_network(study, weights=weights)
    assert network is not None, "reopening refuses studies without a network"
    tokens = study.info["asked"].get("tokens", "auto")
    infos = {info.layer: info for info in with_tokens(catalogue(network.model), tokens)}
    info = infos[known_layer(layer, infos)]
    make_folder(path.parent)
    cut, model = _Cut(network, info, pooling), cut_network(network.model, layer, pooling=pooling, tokens=tokens)
    make_restorable(model)
    if plan is None:
        model.save(path)
        pixels = np.random.default_rng(0).uniform(0, 255, (_NUM_CHECKED, *network.input_size, 3)).astype(np.float32)
        export = _check_file(path, cut, pixels, f"{_NUM_CHECKED} images of random pixels")
    else:
        export = _export_with_head(plan, cut, model, path, str(head), progress)
    write_json(path.with_suffix(".json"), _description(study, network, export))
    return export


def cut_file(out: str | os.PathLike[str]) -> Path:
    """Return the path of a file for a cut network.

    Raises
    ------
    ValueError
        It does not end in `.keras`, or cannot be written.
    """
    path = Path(out)
    if path.suffix != ".keras":
        raise ValueError(f"out must be a file that ends in .keras; got {path.name!r}.")
    check_new_file(path)
    return path


def _export_with_head(
    plan: Plan, cut: _Cut, model: "keras.Model", path: Path, head: str, progress: Report | None
) -> Export:
    """Train the head on the activations of the training images, write the file, and test it on the test images."""
    samples = plan.samples
    train, test = samples.rows("train"), samples.rows("test")
    if not len(train):
        raise StudyError("The study has no training images to make a head of. Run it with --split both.")
    input_size = cut.network.input_size

    def load(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return plan.images.load(rows, input_size)

    features = _activations(cut, load, len(samples), plan.batch_size, progress)
    trained, classes = _train_head(head, features[train], samples.labels[train])
    with_head(model, trained).save(path)
    rows = (test if len(test) else train)[:_NUM_CHECKED]
    export = _check_file(path, cut, load(rows), f"{len(rows)} of the study's images", has_head=True)
    names = tuple(samples.class_names[code] for code in classes)
    export = replace(export, head=head, class_names=names, num_train=len(train))
    if not len(test):
        return export
    predicted = classes[np.argmax(trained.predict(features[test], verbose=0), axis=1)]
    accuracy = float((predicted == samples.labels[test]).mean())
    low, high = wilson(accuracy, len(test))
    return replace(export, num_test=len(test), accuracy=accuracy, low=low, high=high)


def _train_head(head: str, features: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """Return the trained head, and the label of each of its outputs."""
    if head == "probe":
        scores = fit_linear_scores(features, labels)
        return linear_head(scores.weights, scores.offsets), np.asarray(scores.classes, np.int64)
    classes, codes = np.unique(labels, return_inverse=True)
    return nearest_head(features, codes, len(classes)), classes


def _check_file(
    path: Path, cut: _Cut, pixels: NDArray[np.float32], checked_on: str, *, has_head: bool = False
) -> Export:
    """Load the file again, and compare its features with the network's activations as a study computes them."""
    import keras

    loaded = keras.models.load_model(path, compile=False)
    # The head is the last operation: the output of the one before it is the features.
    features = keras.Model(loaded.inputs[0], loaded.operations[-2].output) if has_head else loaded
    actual = np.asarray(features(pixels, training=False)).reshape(len(pixels), -1)
    expected = _activations(cut, lambda rows: pixels[rows], len(pixels), len(pixels), None)
    difference = float(np.abs(actual - expected).max())
    largest = float(np.abs(expected).max())
    if difference > ACTIVATION_TOLERANCE * max(1.0, largest):
        raise RuntimeError(
            f"{path} gives other numbers than the network: they differ by up to {difference:.2g}, where the largest is "
            f"{largest:.2g}. Please report this with the network's name."
        )
    return Export(
        path=path,
        layer=cut.info.layer,
        pooling=cut.pooling,
        head=None,
        shape=tuple(loaded.outputs[0].shape[1:]),
        parameters=loaded.count_params(),
        largest_difference=difference,
        largest_activation=largest,
        checked_on=checked_on,
    )


def _activations(
    cut: _Cut,
    load: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    num_samples: int,
    batch_size: int,
    progress: Report | None,
) -> NDArray[np.float32]:
    """Compute the layer's activations as a study does, shape (n, d)."""
    pooling = "mean" if cut.pooling == "mean" and cut.info.spatial else "flat"
    activations = stream_pass(
        cut.network,
        Pass((cut.info,), 0),
        load,
        num_samples,
        poolings=(pooling,),
        batch_size=batch_size,
        progress=progress and (lambda done, total: progress(Progress("activations", done, total, "images"))),
    )
    return activations[cut.info.layer, pooling]


def usage_lines(path: Path, *, has_head: bool) -> list[str]:
    """Return lines of Python that use a cut network with Keras alone, on the image `photo.jpg`.

    Images are resized as they are in a study. `about` is the `.json` file beside the network, whose `classes` are in
    the order of the head's outputs.

    Parameters
    ----------
    path : Path
        The network's file.
    has_head : bool
        Whether the network ends in a classifier; otherwise its output is features.
    """
    lines = [
        "import json, keras, pathlib",
        f"about = json.loads(pathlib.Path({path.with_suffix('.json').name!r}).read_text())",
        f"network = keras.saving.load_model({path.name!r})",
        'image = keras.utils.load_img("photo.jpg", target_size=about["input_size"], interpolation="bilinear")',
        "output = network.predict(keras.utils.img_to_array(image)[None])[0]",
    ]
    return [*lines, 'print(about["classes"][output.argmax()])' if has_head else "print(output.shape)"]


def _description(study: Study, network: Network, export: Export) -> dict[str, Any]:
    """The content of the `.json` file beside the network: how to use it, and where it comes from."""
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
        "usage": usage_lines(export.path, has_head=export.head is not None),
    }
