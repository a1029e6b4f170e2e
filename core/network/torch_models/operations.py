"""Floating-point operations of a PyTorch network, from its input to the end of each call of a module.

PyTorch's own counter (`torch.utils.flop_counter`) multiplies the shapes of convolutions, matrix products and attention,
two operations for each multiplication and addition, as the counts of Keras networks here do. Sums, activations and
normalization count as none.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.network.torch_models.modules import NamedModule

Shape = tuple[int, ...]

# Operators of PyTorch that contain products, and for which its counter may lack a formula
_WITH_PRODUCTS = re.compile(r"rnn|lstm|gru|attention|encoder_layer|conv|fft|cdist|^(add)?mv$|^v?dot$|_mm$")
_PLAIN_NAMESPACES = ("aten", "prim", "prims", "profiler")


@dataclass(frozen=True)
class OperationCount:
    """Operations up to the end of a call.

    Attributes
    ----------
    flop : int or None
        Operations of one sample; None if an operator of `uncounted` has run.
    uncounted : tuple of str
        Operators that have run and whose operations are not known.
    """

    flop: int | None
    uncounted: tuple[str, ...] = ()


UNKNOWN = OperationCount(None)


@dataclass(eq=False)
class _Reader:
    """Reads the counters at the end of each call."""

    total: Callable[[], int]
    uncounted: dict[str, None]
    num_samples: int
    counts: dict[tuple[str, int], OperationCount] = field(default_factory=dict)
    num_calls: dict[str, int] = field(default_factory=dict)

    def end(self, name: str) -> None:
        call = self.num_calls.get(name, 0)
        self.num_calls[name] = call + 1
        flop = None if self.uncounted else round(self.total() / self.num_samples)
        self.counts[name, call] = OperationCount(flop, tuple(self.uncounted))


def count_operations(
    modules: list[NamedModule], run: Callable[[int], None], num_samples: int
) -> Mapping[tuple[str, int], OperationCount]:
    """Run a network on the first samples of a batch, and return the operations up to the end of each call.

    Parameters
    ----------
    modules : list of NamedModule
        The modules of the network.
    run : callable
        Runs the network, in inference mode, on as many samples as it is given.
    num_samples : int
        Number of samples.

    Returns
    -------
    mapping of (str, int) to OperationCount
        By name of the module and number of its call, from 0. A network that cannot run while operations are counted
        has no entries.
    """
    from torch.utils.flop_counter import FlopCounterMode

    uncounted: dict[str, None] = {}
    counter = FlopCounterMode(display=False, custom_mapping=_further_formulas())
    reader = _Reader(counter.get_total_flops, uncounted, num_samples)
    handles = []
    try:
        for item in modules:
            handles.append(
                item.module.register_forward_hook(lambda module, inputs, output, name=item.name: reader.end(name))
            )
        with _operator_watch(counter.flop_registry, uncounted), counter:
            run(num_samples)
    except Exception:  # a network's code may do anything that counting does not allow; it runs without
        return {}
    finally:
        for handle in handles:
            handle.remove()
    return reader.counts


def _operator_watch(formulas: Mapping[Any, Any], uncounted: dict[str, None]) -> Any:
    """Return a context that adds the names of operators without a formula, which may contain products."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            operator = getattr(func, "_overloadpacket", func)
            namespace, _, name = str(getattr(func, "_schema", operator)).partition("(")[0].rpartition("::")
            name = name.partition(".")[0]
            is_plain = namespace in _PLAIN_NAMESPACES and not _WITH_PRODUCTS.search(name)
            if operator not in formulas and not is_plain:
                uncounted[f"{namespace}::{name}" if namespace else name] = None
            return func(*args, **(kwargs or {}))

    return Watch()


def _further_formulas() -> dict[Any, Callable[..., int]]:
    """Return formulas of fused operators that PyTorch uses in inference mode, and does not count."""
    import torch

    formulas: dict[Any, Callable[..., int]] = {}
    for name, formula in (
        ("_scaled_dot_product_flash_attention_for_cpu", _attention),
        ("_scaled_dot_product_fused_attention_overrideable", _attention),
        ("_native_multi_head_attention", _multi_head_attention),
        ("_transformer_encoder_layer_fwd", _encoder_layer),
    ):
        operator = getattr(torch.ops.aten, name, None)
        if operator is not None:
            formulas[operator] = formula
    return formulas


def _attention(query: Shape, key: Shape, value: Shape, *arguments: Any, **options: Any) -> int:
    """Products of queries with keys, and of the weights with values; shapes (..., tokens, channels)."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _multi_head_attention(
    query: Shape, key: Shape, value: Shape, embed_dim: int, num_heads: int, *arguments: Any, **options: Any
) -> int:
    """Projections of queries, keys, values and the result, and attention; shapes (n, tokens, channels)."""
    num_queries, num_keys = math.prod(query[:-1]), math.prod(key[:-1])
    projections = 4 * embed_dim * embed_dim * (num_queries + num_keys)
    return projections + 4 * num_queries * key[-2] * embed_dim


def _encoder_layer(
    source: Shape, embed_dim: int, num_heads: int, *arguments: Any, out_shape: Any = None, **options: Any
) -> int:
    """Attention and two linear layers, whose weights are the arguments 11 and 13 after the number of heads."""
    attention = _multi_head_attention(source, source, source, embed_dim, num_heads)
    num_weights: int = math.prod(arguments[11]) + math.prod(arguments[13])
    return attention + 2 * math.prod(source[:-1]) * num_weights
