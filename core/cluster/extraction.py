"""Activations on workers: each task takes some images through the network, and writes a shard of every layer."""

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
from core.network.models.registry import Network, is_model_file, load_network
from core.network.passes import Pass, plan_passes, poolings_of
from core.study.measuring.unusable import Survey, survey
from core.study.plan import Plan
from core.study.streaming import PassOutput

Key = tuple[str, str]  # layer, pooling

_SHARE = 4  # of a worker's memory: what a task's activations take at most is one fourth
_TASKS_A_WORKER = 4  # at least, where there are images enough, so that none waits long for the last one


@dataclass(frozen=True)
class Recipe:
    """How a worker gets the network that the plan has, and how it recognizes it."""

    model: str | None
    weights: str
    input_size: int | None
    seed: int
    weights_sha256: str

    @classmethod
    def of(cls, plan: Plan) -> "Recipe | None":
        """None where there is no network."""
        if plan.network is None:
            return None
        asked, network = plan.options, plan.network
        if not is_model_file(network.weights):
            return cls(asked.model, network.weights, asked.input_size, asked.seed, network.weights_sha256)
        # The plan has checked that the file holds the network that was named, whose image size it may have taken.
        height, width = network.input_size
        size = height if height == width else None
        return cls(None, str(Path(network.weights).resolve()), size, asked.seed, network.weights_sha256)


@dataclass(frozen=True)
class Extraction:
    """What all tasks of an extraction have in common."""

    recipe: Recipe | None
    passes: tuple[Pass, ...]
    poolings: tuple[str, ...]
    batch_size: int
    shards: Mapping[Key, Shards]

    @property
    def rows_a_shard(self) -> int:
        return next(iter(self.shards.values())).rows_a_shard


def plan_extraction(
    plan: Plan, layers: Sequence[LayerInfo], address: str, *, num_workers: int, worker_memory: int
) -> Extraction:
    """How the activations of some layers come into shards.

    A shard is a multiple of the batch, so that every batch is the one of a run on one machine, with the same bits.
    What does not fit a worker's share at once comes in passes, each from a boundary that the one before kept.
    """
    num_images, batch = len(plan.images), plan.options.batch_size
    widths = {
        (layer.layer, pooling): layer.channels if pooling == "mean" else layer.num_features
        for layer in layers
        for pooling in poolings_of(layer, plan.poolings)
    }
    budget = worker_memory // _SHARE
    most = min(budget // (4 * sum(widths.values())), ceil(num_images / (_TASKS_A_WORKER * num_workers)))
    rows = batch * max(1, most // batch)
    passes = plan_passes(layers, min(rows, num_images), plan.poolings, budget, boundaries=plan.boundaries)
    shards = {
        key: Shards(f"{address}/{number:05d}", num_images, width, rows)
        for number, (key, width) in enumerate(widths.items())
    }
    return Extraction(Recipe.of(plan), passes, plan.poolings, batch, shards)


def num_shards(plan: Plan, *, num_workers: int, worker_memory: int) -> int:
    """Tasks of the extraction of all layers of a plan."""
    extraction = plan_extraction(plan, plan.layers, "", num_workers=num_workers, worker_memory=worker_memory)
    return ceil(len(plan.images) / extraction.rows_a_shard)


def check_images_seen(cluster: Cluster, images: LabelledImages) -> None:
    """All workers reach the images.

    Raises
    ------
    ClusterError
        One of them cannot read the first image.
    """
    for worker, reason in cluster.client.run(_failure_to_read, images.select([0])).items():
        if reason is not None:
            raise ClusterError(
                f"data must be at the same path on all workers; {worker} cannot read it ({reason}). Put it on a disk "
                "that all machines share, and name it by the path that they share."
            )


def _failure_to_read(images: LabelledImages) -> str | None:
    """Why a worker cannot read an image; None where it can."""
    try:
        images.load(np.arange(len(images)), (8, 8))
    except OSError as error:
        return str(error)
    return None


def extract(extraction: Extraction, images: LabelledImages, start: int) -> dict[Key, Survey]:
    """Take images through the network and write their shards, which start at `start`; returns what these are like."""
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
        found = stream_pass(
            network,
            pass_,
            partial(images.load, size=network.input_size),
            len(images),
            poolings=extraction.poolings,
            batch_size=extraction.batch_size,
            allocate=pass_output.memory(pass_),
            start=boundary,
            forward=_compiled(
                extraction.recipe, pass_, extraction.poolings, extraction.batch_size, boundary is not None
            ),
        )
        pass_output.take(pass_, found)
        for key, activations in found.items():
            if key in extraction.shards:
                surveys[key] = survey(activations)
                extraction.shards[key].write(start, activations)
    return surveys


@lru_cache(maxsize=1)
def _network(recipe: Recipe) -> Network:
    """Loaded once a worker; another study's takes its place."""
    network = load_network(recipe.model, recipe.weights, input_size=recipe.input_size, seed=recipe.seed)
    if network.weights_sha256 != recipe.weights_sha256:
        raise ValueError(
            f"weights must be the same on all machines; a worker's {recipe.weights} differ from those here. Install "
            "the same packages, and put the same file at the same path."
        )
    return network


@lru_cache(maxsize=64)
def _compiled(recipe: Recipe, pass_: Pass, poolings: tuple[str, ...], batch_size: int, at_boundary: bool) -> Forward:
    """Traced once a worker and pass: it takes longer than to run a few images."""
    return compile_pass(
        _network(recipe), pass_, poolings=poolings, batch_size=batch_size, boundary=pass_.start if at_boundary else None
    )
