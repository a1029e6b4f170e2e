"""What a plan will cost: counted operations, and from them an estimate of the time on this machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.network.layers import LayerInfo, catalogue
from core.network.passes import Pass
from core.study.plan import Plan

# Of the rate of a large matrix product, what a convolutional network reaches: depthwise convolutions and activations
# move memory rather than multiply. EfficientNet-B0 on two cores, decoding included, all main layers read: 37 of 197
# GFLOP/s.
FORWARD_SHARE = 0.2


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of a pass, a multiplication and an addition counted as two.

    forward_flop : of the network, from where each run over the images starts to where it ends, as `LayerInfo.flop`
        counts them: 2 · parameters · positions of each convolution and dense layer.
    search_flop : of the inner products between all samples, each pair once.
    """

    forward_flop: float
    search_flop: float

    def seconds(self, product_rate: float) -> float:
        """Expected time, where large float32 products run at `product_rate` operations a second. An estimate."""
        return self.forward_flop / (FORWARD_SHARE * product_rate) + self.search_flop / product_rate


def pass_cost(plan: Plan, pass_: Pass) -> Cost:
    """What one pass of a plan costs."""
    num_samples = len(plan.images)
    layers = () if plan.network is None else catalogue(plan.network.model)
    forward = _forward_flop(layers, pass_) + (pass_.num_runs - 1) * _forward_flop(layers, pass_.again())
    widths = [
        layer.num_features if pooling == "flat" else layer.channels
        for layer in pass_.layers
        for pooling in (plan.poolings if layer.spatial else ("flat",))
    ]
    return Cost(float(forward) * num_samples, float(sum(widths)) * num_samples**2)


def product_rate() -> float:
    """Operations a second of a large float32 matrix product on this machine now, measured in a moment."""
    factor = np.ones((1024, 4096), np.float32)
    other = factor[::-1].copy()
    elapsed_s = []
    for _ in range(3):
        start = time.perf_counter()
        factor @ other.T
        elapsed_s.append(time.perf_counter() - start)
    return 2 * 1024**2 * 4096 / min(elapsed_s)


def _forward_flop(layers: Sequence[LayerInfo], pass_: Pass) -> int:
    """Operations of one run on one image."""
    start = -1 if pass_.start is None else pass_.start.position
    return sum(layer.flop for layer in layers if start < layer.position <= pass_.deepest)
