"""Extraction of activations on workers: a task runs the network on some images, and writes a shard of each layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import ceil
from pathlib import Path

import numpy as np

from core.cluster.connecting import Cluster, ClusterError
from core.cluster.shards import Shards
from core.data.images.labelled_images import LabelledImages
from core.network.activations import Forward, compile_pass, stream_pass
from core.network.catalogue import LayerInfo
from core.network.models.registry import Network, is_weights_path, load_network
from core.network.models.weights_only import holds_weights_only
from core.network.passes import Pass, plan_passes, poolings_of
from core.study.measuring.unusable import Survey, survey
from core.study.plan import Plan
from core.study.streaming import PassOutput

Key = tuple[str, str]  # layer, pooling

_MEMORY_SHARE = 4  # the activations of a task take at most one fourth of a worker's memory
_TASKS_PER_WORKER = 4  # at least, if there are enough images, so that no worker waits long for the last task


@dataclass(frozen=True)
class Recipe:
    """How a worker loads the network of the plan, and the hash that its weights must have."""

    model: str | None
    weights: str
    input_size: int | None
    seed: int
    weights_sha256: str

    @classmethod
    def of(cls, plan: Plan) -> "Recipe | None":
        """Return the recipe of a plan; None if it has no network."""
        if plan.network is None:
            return None
        options, network = plan.options, plan.network
        if not is_weights_path(network.weights):
            return cls(options.model, network.weights, options.input_size, options.seed, network.weights_sha256)
        path = Path(network.weights).resolve()
        if path.is_dir() or holds_weights_only(path):
            return cls(options.model, str(path), options.input_size, options.seed, network.weights_sha256)
        # The plan has already checked that the file contains the named network. If the model in the file takes any
        # image size, the plan has chosen one.
        height, width = network.input_size
        size = height if height == width else None
        return cls(None, str(path), size, options.seed, network.weights_sha256)


@dataclass(frozen=True)
class Extraction:
    """The settings that all tasks of an extraction share.

    Attributes
    ----------
    recipe : Recipe or None
        The network; None for raw pixels.
    passes : tuple of Pass
        The passes of each task.
    poolings : tuple of str
        The poolings of the layers.
    batch_size : int
        Images per batch.
    shards : mapping of (str, str) to Shards
        By layer and pooling the storage of the activations.
    """

    recipe: Recipe | None
    passes: tuple[Pass, ...]
    poolings: tuple[str, ...]
    batch_size: int
    shards: Mapping[Key, Shards]

    @property
    def rows_per_shard(self) -> int:
        return next(iter(self.shards.values())).rows_per_shard


def plan_extraction(
    plan: Plan, layers: Sequence[LayerInfo], address: str, *, num_workers: int, worker_memory: int
) -> Extraction:
    """Plan the extraction of the activations of some layers into shards.

    The size of a shard is a multiple of the batch size, so that all batches, and hence all bits of the results, are the
    same as on one machine. If the activations do not fit into a worker's memory together, a task has several passes.

    Parameters
    ----------
    plan : Plan
        The plan of a study.
    layers : sequence of LayerInfo
        The layers to extract.
    address : str
        Storage that all workers can access.
    num_workers : int
        Number of workers.
    worker_memory : int
        Memory of a worker in bytes.
    """
    num_images, batch = len(plan.images), plan.batch_size
    widths: dict[Key, int] = {}
    for layer in layers:
        for pooling in poolings_of(layer, plan.poolings):
            widths[layer.layer, pooling] = layer.channels if pooling == "mean" else layer.num_features
    budget = worker_memory // _MEMORY_SHARE
    max_rows = min(budget // (4 * sum(widths.values())), ceil(num_images / (_TASKS_PER_WORKER * num_workers)))
    rows = batch * max(1, max_rows // batch)
    passes = plan_passes(layers, min(rows, num_images), plan.poolings, budget, boundaries=plan.boundaries)
    shards = {
        key: Shards(f"{address}/{number:05d}", num_images, width, rows)
        for number, (key, width) in enumerate(widths.items())
    }
    return Extraction(Recipe.of(plan), passes, plan.poolings, batch, shards)


def num_shards(plan: Plan, *, num_workers: int, worker_memory: int) -> int:
    """Return the number of tasks of the extraction of all layers of a plan."""
    extraction = plan_extraction(plan, plan.layers, "", num_workers=num_workers, worker_memory=worker_memory)
    return ceil(len(plan.images) / extraction.rows_per_shard)


def check_images_readable(cluster: Cluster, images: LabelledImages) -> None:
    """Check that all workers can read the images.

    Raises
    ------
    ClusterError
        If a worker cannot read the first image.
    """
    for worker, reason in cluster.client.run(_failure_to_read, images.select([0])).items():
        if reason is not None:
            raise ClusterError(
                f"data must be at the same path on all workers; {worker} cannot read them ({reason}). Put them on a "
                "shared disk, and give a path that is valid on all machines."
            )


def _failure_to_read(images: LabelledImages) -> str | None:
    """On a worker: return why it cannot read the images; None if it can."""
    try:
        images.load(np.arange(len(images)), (8, 8))
    except OSError as error:
        return str(error)
    return None


def extract(extraction: Extraction, images: LabelledImages, start: int) -> dict[Key, Survey]:
    """On a worker: run the network on images, and write one shard of each layer.

    Parameters
    ----------
    extraction : Extraction
        The settings.
    images : LabelledImages
        The images of the shard.
    start : int
        Row of the first image among all images.

    Returns
    -------
    dict of (str, str) to Survey
        By layer and pooling a survey of the written activations.
    """
    rows = np.arange(len(images))
    surveys: dict[Key, Survey] = {}
    if extraction.recipe is None:
        for key, shards in extraction.shards.items():
            pixels = images.raw(rows).reshape(len(images), -1)
            surveys[key] = survey(pixels)
            shards.write(start, pixels)
        return surveys
    network, pass_output = _network(extraction.recipe), PassOutput(extraction.passes)
    for pass_ in extraction.passes:
        boundary = pass_output.start(pass_)
        pass_activations = stream_pass(
            network,
            pass_,
            partial(images.load, size=network.input_size),
            len(images),
            poolings=extraction.poolings,
            batch_size=extraction.batch_size,
            allocate=pass_output.memory(pass_),
            start=boundary,
            forward=_compile(
                extraction.recipe, pass_, extraction.poolings, extraction.batch_size, boundary is not None
            ),
        )
        pass_output.take(pass_, pass_activations)
        for key, activations in pass_activations.items():
            if key in extraction.shards:
                surveys[key] = survey(activations)
                extraction.shards[key].write(start, activations)
    return surveys


@lru_cache(maxsize=1)
def _network(recipe: Recipe) -> Network:
    """Load the network, once per worker process; the network of another study replaces it."""
    network = load_network(recipe.model, recipe.weights, input_size=recipe.input_size, seed=recipe.seed)
    if network.weights_sha256 != recipe.weights_sha256:
        raise ValueError(
            f"weights must be the same on all machines; a worker's {recipe.weights} differ from those here. Install "
            "the same packages, and put the same file at the same path."
        )
    return network


@lru_cache(maxsize=64)
def _compile(recipe: Recipe, pass_: Pass, poolings: tuple[str, ...], batch_size: int, at_boundary: bool) -> Forward:
    """Compile a pass, once per worker process: this takes longer than running it on a few images."""
    boundary = pass_.start if at_boundary else None
    return compile_pass(_network(recipe), pass_, poolings=poolings, batch_size=batch_size, boundary=boundary)
