"""What a study will compute, and what it will cost, before it starts."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.data.files import make_folder
from core.data.images.copies import copy_notes
from core.data.images.labelled_images import LabelledImages
from core.data.images.loading import check_data_exist, load_images
from core.data.images.pixel_cache import bytes_to_keep
from core.data.sampling import counted, name_some
from core.network.activations import CPU_BATCH, default_batch_size
from core.network.catalogue import (
    DEFAULT_LAYERS,
    INPUT_LAYER,
    LayerInfo,
    boundary_layers,
    catalogue,
    select_default_layers,
    select_layers,
    with_tokens,
)
from core.network.models.registry import (
    DEFAULT_MODEL,
    DEFAULT_WEIGHTS,
    Network,
    is_model_file,
    load_network,
    network_choice,
)
from core.network.passes import Pass, plan_passes
from core.network.tokens import describe_class_tokens
from core.search.sliced import working_bytes
from core.study.image_check import ImageCheck, ReportCheck, checked_meanwhile
from core.study.measuring.projection import check_projection
from core.study.measuring.searches import KNN
from core.study.options import (
    PIXELS,
    POOLINGS,
    STUDY_OPTIONS,
    StudyChoices,
    check_kind,
    check_options,
    flags_of,
    with_parameters,
)
from core.study.samples import MeasureOptions, StudySamples

NOTEBOOK: Mapping[str, Any] = {"layers": "main", "pooling": "flat", "per_class": 10}  # the original notebook's choices
UNLIMITED_MEMORY = 1 << 62  # bytes, more than any machine has; for plans whose activations lie in a cluster's storage
_WNID = re.compile(r"n\d{8}($|[-_])")


@dataclass(frozen=True)
class Progress:
    """How far a study is: `done` of `total` `unit` in a `stage`, such as 640 of 2,400 images in "pass 1 of 3"."""

    stage: str
    done: int
    total: int
    unit: str


Report = Callable[[Progress], None]


@with_parameters
@dataclass(frozen=True)
class StudyOptions(StudyChoices):
    """The options of a study; two studies with the same options have the same tables.

    Afterwards model is None where the file that weights names says what network it is. See
    `core.network.models.registry.load_network` on networks, `core.network.catalogue.select_layers` on layers,
    `core.data.images.loading.load_images` on data, and `core.study.exactness` on searches of hours.
    """

    def __post_init__(self) -> None:
        model, weights = network_choice(self.model, self.weights)
        if model == PIXELS and is_model_file(weights):
            raise ValueError(
                f"weights must be left out with model 'pixels', which has none; got {weights!r}. Leave out one of them."
            )
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "weights", weights)
        check_options(self)
        if self.precision is not None and self.sizes:
            raise ValueError("precision and sizes must not be combined; both draw samples. Make two studies.")
        if self.precision is not None and self.allow_long_search:
            raise ValueError("precision and allow_long_search must not be combined; choose one of them.")
        if self.pilot and self.precision is None:
            raise ValueError(f"pilot must be at least 0, and go with a precision; got {self.pilot}. 200 is usual.")
        if self.input_size is not None and self.model == PIXELS:
            raise ValueError(
                f"input_size must be at least 1, and go with a network; got {self.input_size} with {self.model!r}."
            )
        check_projection(self.projection)

    def asked(self) -> dict[str, Any]:
        """The options as study.json records them: those that the tables depend on."""
        options = asdict(self) | {"sizes": list(self.sizes)}
        return {name: value for name, value in options.items() if STUDY_OPTIONS[name].recorded}

    def measures(self) -> MeasureOptions:
        """What is computed at each layer."""
        return MeasureOptions(
            num_neighbors=self.neighbors,
            sizes=self.sizes,
            repeats=self.repeats,
            seed=self.seed,
            centers=self.protocol == "notebook",
            probe=self.probe,
            pilot=self.pilot,
            projection=self.projection,
            related_measures=self.related_measures,
        )

    def command(self, out: str | os.PathLike[str]) -> str:
        """Return the command that computes this study."""
        words = ["python", "-m", "core", "study", self.data, "--out", os.fspath(out)]
        return shlex.join([*words, *flags_of(self, {"model": DEFAULT_MODEL, "weights": DEFAULT_WEIGHTS})])


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """A study that can start: its samples are checked, its network is loaded, its passes fit the memory.

    network is None for `model="pixels"`. images and samples have the same order, training samples first. spool is a
    folder for the activations of layers that do not fit.
    """

    options: StudyOptions
    images: LabelledImages
    samples: StudySamples
    network: Network | None
    layers: tuple[LayerInfo, ...]
    budget_bytes: int
    spool: Path | None = None

    def __repr__(self) -> str:
        budget = f"{self.budget_bytes / 2**30:.1f} GiB"
        return (
            f"Plan({self.options.model} on {self.options.data}: {counted(len(self.layers), 'layer')}, "
            f"{counted(len(self.images), 'sample')}, {self.options.pooling} pooling, {budget})"
        )

    @property
    def poolings(self) -> tuple[str, ...]:
        return POOLINGS[self.options.pooling]

    @cached_property
    def stored_layers(self) -> frozenset[str]:
        """The names of the layers whose neighbors are stored."""
        return frozenset(layer.layer for layer in select_layers(self.layers, self.options.neighbor_layers))

    def passes(self, finished: frozenset[str] = frozenset()) -> tuple[Pass, ...]:
        """The passes over the images that the layers need, but for those already finished."""
        left = [layer for layer in self.layers if layer.layer not in finished]
        return plan_passes(
            left,
            len(self.images),
            self.poolings,
            self.budget_bytes,
            search_bytes=self._search_bytes(),
            spool=self.spool is not None and self.network is not None,
            boundaries=self.boundaries,
        )

    @cached_property
    def boundaries(self) -> tuple[LayerInfo, ...]:
        """Layers at which a pass may start where the pass before it kept them."""
        return () if self.network is None else boundary_layers(self.network.model)

    def _search_bytes(self) -> int:
        """What the search over slices holds beside a slice: inner products, and a few candidates a query."""
        num_samples, measures = len(self.images), self.options.measures()
        candidates = 2 * 64 * num_samples * max(measures.num_neighbors, *KNN)
        if not measures.centers:
            return working_bytes(num_samples) + candidates
        largest_split = max(len(self.samples.rows(split)) for split in self.samples.split_names)
        return working_bytes(num_samples, np.float64) + candidates + 3 * 8 * largest_split**2

    @property
    def batch_size(self) -> int:
        """Number of images in a forward pass."""
        if self.options.batch_size is not None:
            return self.options.batch_size
        return CPU_BATCH if self.network is None else default_batch_size()

    def used(self) -> dict[str, Any]:
        """What study.json records as used: data, model and batch partition, by fingerprint."""
        data = self.samples.describe() | {"name": self.images.name, "fingerprint": self.images.fingerprint}
        data |= self.images.describe()
        model = {"name": PIXELS} if self.network is None else _describe_network(self.network)
        batches = {"batch_size": self.batch_size, "last_batch": "padded"}
        pooled = self._pooled()
        return {"data": data, "model": model, "batches": batches} | ({"pooled": pooled} if pooled else {})

    def _pooled(self, *, only_class_tokens: bool = False) -> dict[str, str]:
        """Return what pooling mean takes of each layer of tokens, in words; empty without this pooling."""
        if "mean" not in self.poolings:
            return {}
        chosen = [layer for layer in self.layers if layer.class_token is not None or not only_class_tokens]
        return {layer.layer: layer.pooled_text for layer in chosen if layer.pooled_text}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was decided about the images, and what copies among them do to the results."""
        return self.images.notes + copy_notes(self.images)

    def cautions(self) -> list[str]:
        """Sentences that belong beside any result of this study."""
        seen = self._seen_by_imagenet()
        class_tokens = describe_class_tokens(self._pooled(only_class_tokens=True), self.options.tokens)
        own = [
            *self.notes,
            *([class_tokens] if class_tokens else []),
            *([seen] if seen else []),
        ]
        return own + _skipped_cautions(self.images) + self.samples.cautions()

    def _seen_by_imagenet(self) -> str:
        """Return what to say of images of ImageNet in a trained network; "" where that does not apply."""
        weights = self.options.weights
        if self.network is None or weights == "none" or not all(map(_WNID.match, self.images.class_names)):
            return ""
        published = self.network.origin.get("published_as")
        return _SEEN_BY_IMAGENET if "imagenet" in (weights, published) else _PERHAPS_SEEN_BY_IMAGENET


def _skipped_cautions(images: LabelledImages) -> list[str]:
    """Which images are left out because they cannot be read."""
    if not images.skipped:
        return []
    names = name_some([repr(skipped.id) for skipped in images.skipped])
    count = len(images.skipped)
    start = (
        f"{count} images are left out, which cannot be read"
        if count > 1
        else "One image is left out, which cannot be read"
    )
    return [f"{start}: {names}."]


_SEEN_BY_IMAGENET = (
    "The class folders bear ImageNet ids: a network with ImageNet weights has probably been trained on these very "
    "images, test images included. Its values say how well they were learned, not how it would do on new images."
)
_PERHAPS_SEEN_BY_IMAGENET = (
    "The class folders bear ImageNet ids: if the network was trained on ImageNet, or fine-tuned from such weights, it "
    "has probably been trained on these very images, test images included. Its values then say how well they were "
    "learned, not how it would do on new images."
)


def plan_study(
    options: StudyOptions,
    *,
    memory: int | None = None,
    spool: str | os.PathLike[str] | None = None,
    images: LabelledImages | None = None,
    network: Network | None = None,
    progress: Report | None = None,
) -> Plan:
    """Load the network, check the samples and plan the passes.

    The images are checked while the network is loaded. An error about the network comes at once and before any about
    the images, because reading these may take minutes.

    Parameters
    ----------
    options : what is asked.
    memory : bytes for the activations of one pass; default half of the memory that is available now.
    spool : a folder for the activations of layers that do not fit, which are removed afterwards; default none, and
        such layers come in slices.
    images : the images of these options, where `chosen_images` gave them already.
    network : the network of these options, where `load_network_of` gave it already.
    progress : told how many images have been checked, and how much of the weights has come.

    Raises
    ------
    ValueError, OSError
        Broken or missing data, an unknown model, layer or weight set, a layer that does not fit the memory or the
        disk.
    """
    check_kind("options", options, StudyOptions)
    if images is None:
        check_data_exist(options.data)
        with images_meanwhile(options, memory) as image_check:
            network = load_network_of(options, progress) if network is None else network
            images = image_check.result(told_as_checking(progress))
    elif network is None:
        network = load_network_of(options, progress)
    plan = Plan(
        options=options,
        images=images,
        samples=StudySamples(images.ids, images.labels, images.class_names, images.splits, images.sources),
        network=network,
        layers=_pixel_layer(options, images) if network is None else _chosen_layers(options, network),
        budget_bytes=available_bytes() // 2 if memory is None else memory,
        spool=None if spool is None else Path(spool),
    )
    _ = plan.stored_layers  # refuses patterns that match none of the layers
    _check_disk(plan)
    for split_name in plan.samples.split_names:
        plan.samples.subsamples(split_name, options.measures())  # refuses sizes that the split cannot give
    return plan


def chosen_images(
    options: StudyOptions, *, memory: int | None = None, progress: Report | None = None
) -> LabelledImages:
    """The images that the options choose, checked, training images first; studies of several networks share them.

    Some stay decoded, so that the first pass need not decode them again: up to an eighth of `memory`, or of what is
    available, and at most 512 MiB.
    """
    return _chosen_images(options, memory, told_as_checking(progress))


def images_meanwhile(options: StudyOptions, memory: int | None = None) -> AbstractContextManager[ImageCheck]:
    """`chosen_images` in a thread, while the block loads networks; it ends with the block at the latest."""
    return checked_meanwhile(partial(_chosen_images, options, memory))


def _chosen_images(options: StudyOptions, memory: int | None, progress: ReportCheck | None) -> LabelledImages:
    images = load_images(
        options.data,
        seed=options.seed,
        per_class=options.per_class,
        split=options.split,
        skip_broken=options.skip_broken,
        skip_small_classes=options.skip_small_classes,
        test_fraction=options.test_fraction,
        keep_bytes=bytes_to_keep(available_bytes() if memory is None else memory),
        progress=progress,
    )
    return images.select(np.argsort(images.splits != "train", kind="stable"))


def load_network_of(options: StudyOptions, progress: Report | None = None) -> Network | None:
    """Load the network of a study; None for `model="pixels"`.

    progress : told how much of the weights has come.
    """
    if options.model == PIXELS:
        return None
    return load_network(
        options.model,
        options.weights,
        input_size=options.input_size,
        seed=options.seed,
        progress=progress and (lambda done, total: progress(Progress("downloading weights", done, total, "bytes"))),
    )


def _check_disk(plan: Plan) -> None:
    """Refuse a layer that does not fit, in memory or on disk, before anything is written."""
    needed = max((pass_.spooled_bytes for pass_ in plan.passes()), default=0)
    if plan.spool is None or not needed:
        return
    make_folder(plan.spool, "spool")
    free = shutil.disk_usage(plan.spool).free
    if needed > free:
        raise ValueError(
            f"spool must be a folder with {needed:,} bytes to spare for the largest layer; got {free:,} in "
            f"{plan.spool}. Choose another disk, raise --memory, choose --pooling mean, or take fewer samples with "
            "--per-class."
        )


def available_bytes() -> int:
    """Return the memory that can be had without swapping, in bytes."""
    return int(psutil.virtual_memory().available)


def parse_bytes(text: str) -> int:
    """Bytes from a text such as "2GiB", "500 MB" or "1073741824"."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", text, re.IGNORECASE)
    if not match:
        raise ValueError(f"memory must be a number of bytes such as 2GiB or 500MB; got {text!r}.")
    unit = (match[2] or "").upper()
    base = 1024 if unit.endswith("I") else 1000
    amount = float(match[1]) * base ** (" KMGT".index(unit[0]) if unit else 0)
    if amount < 1:
        raise ValueError(f"memory must be at least one byte; got {text[:80]!r}.")
    if amount >= UNLIMITED_MEMORY:
        raise ValueError(f"memory must be at most 4EiB, more than any machine has; got {text[:80]!r}.")
    return int(amount)


def told_as_checking(progress: Report | None) -> ReportCheck | None:
    """The report of how many images are checked, as one of a study's."""
    if progress is None:
        return None
    return lambda done, total: progress(Progress("checking images", done, total, "images"))


def _pixel_layer(options: StudyOptions, images: LabelledImages) -> tuple[LayerInfo, ...]:
    """The only layer without a network: the values of the images, as they are."""
    if options.layers not in (DEFAULT_LAYERS, "all", INPUT_LAYER):
        raise ValueError(f"layers must be left out or be 'input' with model 'pixels'; got {options.layers!r}.")
    shape = images.pixel_shape
    num_features = prod(shape)
    return (LayerInfo(0, INPUT_LAYER, "Input", INPUT_LAYER, shape[-1], 0, 0, (num_features,), num_features),)


def _chosen_layers(options: StudyOptions, network: Network) -> tuple[LayerInfo, ...]:
    """The layers asked for; of the default patterns, those that this network has."""
    layers = with_tokens(catalogue(network.model), options.tokens)
    return select_default_layers(layers) if options.layers == DEFAULT_LAYERS else select_layers(layers, options.layers)


def _describe_network(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "weights": network.weights,
        "weights_sha256": network.weights_sha256,
        "expects": network.expects,
        "input_size": list(network.input_size),
    } | ({"origin": dict(network.origin)} if network.origin else {})
