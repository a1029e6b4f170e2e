"""What a plan will cost: counted operations, an estimate of their time, and the queries that a precision takes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.measures.sample_size import required_queries
from core.measures.significance import wilson
from core.network.catalogue import LayerInfo, catalogue
from core.network.passes import Pass, poolings_of
from core.search.neighbors import Neighbors
from core.search.product_speed import product_speed
from core.search.products import NumPyProducts
from core.study.measuring.embedding import components_bytes, embedding_seconds
from core.study.measuring.searches import Key, pilot_questions
from core.study.plan import Plan
from core.study.samples import StudySamples

# Of the rate of a large matrix product, what a convolutional network reaches: depthwise convolutions and activations
# move memory rather than multiply. EfficientNet-B0 on two cores, decoding included, all main layers read: 37 of 197
# GFLOP/s.
FORWARD_SHARE = 0.2
_SURE = 0.99  # level of the interval of a pilot's share, of which the point nearest to one half counts


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of a pass, or of several, a multiplication and an addition counted as two.

    forward_flop : of the network, from where each run over the images starts to where it ends, as `LayerInfo.flop`
        counts them: 2 · parameters · positions of each convolution and dense layer.
    search_flop : of the inner products between all samples, each pair once; or of sampled ones with all.
    """

    forward_flop: float
    search_flop: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.forward_flop + other.forward_flop, self.search_flop + other.search_flop)

    def seconds(self, product_rate: float) -> float:
        """Expected time, where large float32 products run at `product_rate` operations a second. An estimate."""
        return self.forward_flop / (FORWARD_SHARE * product_rate) + self.search_flop / product_rate


def pass_cost(plan: Plan, pass_: Pass, precision: float | None = None) -> Cost:
    """What one pass of a plan costs; with a `precision`, where only as many samples are asked as that takes."""
    num_samples = len(plan.images)
    layers = () if plan.network is None else catalogue(plan.network.model)
    forward = _forward_flop(layers, pass_) + (pass_.num_runs - 1) * _forward_flop(layers, pass_.again())
    widths = [width for layer in pass_.layers for width in layer_widths(plan, layer)]
    # A layer in slices is searched from the inner products of all samples, whatever is asked.
    pairs = num_samples**2 if pass_.slices else sum(_pairs(*each) for each in searches_of_plan(plan, precision))
    return Cost(float(forward) * num_samples, float(sum(widths)) * pairs)


@dataclass(frozen=True)
class MapCost:
    """What a neighbor embedding of the samples costs, after all layers are measured.

    num_layers : that are embedded, one after the other, in one thread of this process.
    seconds : in all, an estimate. num_bytes : of their principal components on disk, until the study is complete.
    """

    num_layers: int
    seconds: float
    num_bytes: int


def map_cost(plan: Plan) -> MapCost:
    """What the map of the samples costs; nothing but for a neighbor embedding."""
    if plan.options.projection != "tsne":
        return MapCost(0, 0.0, 0)
    num_samples = len(plan.samples)
    num_layers = num_bytes = 0
    for layer in plan.layers:
        is_flat = len(layer.output_shape) == 1
        if is_flat or "mean" in plan.poolings:
            num_layers += 1
            num_bytes += components_bytes(num_samples, layer.num_features if is_flat else layer.channels)
    return MapCost(num_layers, num_layers * embedding_seconds(num_samples), num_bytes)


def plan_cost(plan: Plan, precision: float | None, finished: frozenset[str] = frozenset()) -> Cost:
    """What a plan costs on this machine, but for the layers already finished."""
    return sum((pass_cost(plan, part, precision) for part in plan.passes(finished)), Cost(0.0, 0.0))


def product_rate() -> float:
    """Operations a second of a large float32 matrix product on this machine now, measured in a moment."""
    return product_speed(NumPyProducts(np.dtype(np.float32)), repeats=3)


def searches_of_plan(plan: Plan, precision: float | None) -> Iterator[tuple[int, int | None]]:
    """References and queries of each search of a layer: within each split (None: all of it), then test among train."""
    rows = {split: len(plan.samples.rows(split)) for split in plan.samples.split_names}
    asked = {} if precision is None else queries_at_worst(plan.samples, precision)
    for split, num_rows in rows.items():
        yield num_rows, asked.get(split)
    if len(rows) == 2:
        yield rows["train"], asked.get("test", rows["test"])


def _pairs(references: int, queries: int | None) -> int:
    """Operations for each feature: two for each pair, and each pair once where every row is asked about all others."""
    return references**2 if queries is None else 2 * queries * references


def layer_widths(plan: Plan, layer: LayerInfo) -> Sequence[int]:
    """Numbers a sample in each form of a layer."""
    poolings = poolings_of(layer, plan.poolings)
    return [layer.num_features if pooling == "flat" else layer.channels for pooling in poolings]


def _forward_flop(layers: Sequence[LayerInfo], pass_: Pass) -> int:
    """Operations of one run on one image."""
    start = -1 if pass_.start is None else pass_.start.position
    return sum(layer.flop for layer in layers if start < layer.position <= pass_.deepest)


def queries_at_worst(samples: StudySamples, precision: float) -> dict[str, int]:
    """Queries that each split needs whatever SI turns out to be."""
    return {split: required_queries(precision, len(samples.rows(split))) for split in samples.split_names}


def queries_after_pilot(
    found: Iterable[Mapping[Key, Neighbors]], samples: StudySamples, precision: float, *, pilot: int, seed: int
) -> dict[str, int]:
    """Queries that each split needs by what a pilot found at every layer; the layer that needs most decides.

    Parameters
    ----------
    found : the answers to `pilot_questions(samples, pilot, seed)`, one set a layer and pooling.
    samples : the n samples. precision : half the width of the interval wanted.
    pilot : queries of the pilot in each split, the first of the order that `seed` gives.
    """
    questions = pilot_questions(samples, pilot, seed)
    needed = dict.fromkeys(samples.split_names, 1)
    for answers in found:
        for split in needed:
            question, neighbors = questions[split, split], answers[split, split]
            nearest = question.references[neighbors.indices[:, 0]]
            agreed = samples.labels[nearest] == samples.labels[question.queries]
            low, high = wilson(float(agreed.mean()), len(agreed), _SURE)
            share = float(np.clip(0.5, low, high))
            needed[split] = max(needed[split], required_queries(precision, len(question.references), share=share))
    return needed
