"""Which of a network's calls are measured, by name, pattern or default, and what the table `layers` says of them."""

import difflib
import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.network.torch_models.modules import NamedModule, named_modules
from core.network.torch_models.outputs import OutputForm
from core.network.torch_models.tracing import Call

INPUT_LAYER = "input"
_PLAIN = ("Sequential", "ModuleList", "ModuleDict")
_MAX_NAMED = 5


@dataclass(frozen=True, eq=False)
class TorchLayer:
    """One layer that is measured.

    Attributes
    ----------
    position : int
        Place in the order in which the calls of all modules end, from 1; 0 is the input.
    layer, kind, block : str
        Name, class and block.
    parameters, cumulative_parameters : int
        Number of parameters of the layer, and of all that is used up to its end.
    form : OutputForm
        What one vector a sample is made of.
    call : Call or None
        The call that it is the output of; None for the input of the network.
    """

    position: int
    layer: str
    kind: str
    block: str
    parameters: int
    cumulative_parameters: int
    form: OutputForm
    call: Call | None

    @property
    def num_features(self) -> int:
        """Number of activations of one sample."""
        return math.prod(self.form.shape)

    @property
    def pooled_text(self) -> str:
        """What the pooling `mean` means at this layer."""
        part = "" if self.call is None or not self.call.part else f", of output{self.call.part}"
        return f"{self.form.description}{part}"

    def row(self) -> dict[str, Any]:
        """Return the row in the table `layers` of a study."""
        return {
            "position": self.position,
            "layer": self.layer,
            "kind": self.kind,
            "block": self.block,
            "channels": self.form.channels,
            "parameters": self.parameters,
            "cumulative_parameters": self.cumulative_parameters,
            "cumulative_flop": 0 if self.call is None else self.call.operations.flop,
            "output_shape": list(self.form.shape) or [1],
            "num_features": self.num_features,
            "mean_of": self.form.mean_of,
        }


@dataclass(frozen=True, eq=False)
class ChosenLayers:
    """Layers to measure, in network order, and why others that a pattern matches are left out, by name."""

    layers: tuple[TorchLayer, ...]
    left_out: Mapping[str, str]


def choose_layers(
    network: Any,
    calls: Sequence[Call],
    input_form: OutputForm | None,
    patterns: Sequence[str] | None,
    other_names: Mapping[str, str],
) -> ChosenLayers:
    """Choose layers by names and patterns of `network.named_modules()`, or by default.

    The default are the blocks (the repeated units of the network, see `find_blocks`), the poolings outside of them, and
    the linear and normalization layers after the last of them. Without blocks these are all convolutions, poolings and
    linear layers.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    calls : sequence of Call
        As returned by `trace`.
    input_form : OutputForm or None
        The form of the network's input, which is called `input` where no module is.
    patterns : sequence of str or None
        Names and patterns such as `layer*.conv1`. A name also stands for further calls of the module.
    other_names : mapping
        Further names of modules, as returned by `aliases`.

    Raises
    ------
    ValueError
        If a name or pattern matches nothing, or nothing that can be measured; all such are named together.
    """
    names = [call.name for call in calls]
    left_out: dict[str, str] = {}
    faults: list[str] = []
    with_input = False
    if patterns is None:
        chosen = default_calls(network, calls)
    else:
        chosen, left_out, faults = _matching(network, calls, patterns, other_names, input_form is not None)
        with_input = input_form is not None and INPUT_LAYER not in names and INPUT_LAYER in patterns
    if faults:
        raise ValueError("layers must name modules of the network that return activations; " + " ".join(faults))
    if not chosen and not with_input:
        raise ValueError(
            "layers must be named for this network; none of its modules is a block, a convolution, a pooling or a "
            "linear layer. Name some of dict(model.named_modules())."
        )
    blocks = find_blocks(network)
    layers = [_layer(calls.index(call) + 1, call, blocks) for call in chosen if call.form is not None]
    if with_input and input_form is not None:
        layers.insert(0, TorchLayer(0, INPUT_LAYER, "Input", "", 0, 0, input_form, None))
    return ChosenLayers(tuple(layers), left_out)


def find_blocks(network: Any) -> list[NamedModule]:
    """Return the repeated units of a network, such as the residual blocks of a ResNet and the encoder blocks of a ViT.

    A unit is a module with modules in it that is an element of a list (`Sequential`, `ModuleList`) or has a sibling of
    its class. Lists, modules whose class is called a stage, and others that hold units are none themselves.
    """
    modules = {item.name: item.module for item in named_modules(network)}
    return [NamedModule(name, module) for name, module in _blocks_in("", modules, is_root=True)]


def default_calls(network: Any, calls: Sequence[Call]) -> list[Call]:
    """Return the calls that are measured by default; see `choose_layers`."""
    usable = [call for call in calls if call.form is not None]
    blocks = find_blocks(network)
    block_names = [item.name for item in blocks]
    ends = [call for call in usable if call.name in set(block_names)]
    outside = [call for call in usable if not call.has_children and not _is_within(call.name, block_names)]
    if not ends:
        return [call for call in outside if _kind_has(call, "Conv", "Pool", "Linear")]
    order = {call.name: number for number, call in enumerate(calls)}
    last = max(order[call.name] for call in ends)
    poolings = [call for call in outside if _kind_has(call, "Pool")]
    head = [call for call in outside if _kind_has(call, "Linear", "LayerNorm") and order[call.name] > last]
    return sorted({*ends, *poolings, *head}, key=lambda call: order[call.name])


def _blocks_in(prefix: str, modules: Mapping[str, Any], *, is_root: bool = False) -> list[tuple[str, Any]]:
    """Return the units below a module, by name."""
    parent = modules[prefix]
    children = {name: module for name, module in modules.items() if name and name.rpartition(".")[0] == prefix}
    composites = {name: module for name, module in children.items() if module._modules}
    found: list[tuple[str, Any]] = []
    for name, module in composites.items():
        is_element = _is_list(parent) and not is_root
        siblings = [other for other in composites.values() if type(other) is type(module)]
        if _is_list(module):
            found += _blocks_in(name, modules)
        elif "Stage" in type(module).__name__:  # a list of blocks, and what reduces the resolution before them
            found += _blocks_in(name, modules) or [(name, module)]
        elif is_element or len(siblings) > 1:
            found.append((name, module))
        else:
            found += _blocks_in(name, modules) or [(name, module)]
    return found


def _is_list(module: Any) -> bool:
    """Return whether a module only holds others: a plain list, or one of another class that holds composite modules."""
    kind = type(module).__name__
    if kind in _PLAIN:
        return True
    is_sequential = any(base.__name__ in ("Sequential", "ModuleList") for base in type(module).__mro__)
    return is_sequential and all(child is not None and child._modules for child in module._modules.values())


def _is_within(name: str, blocks: Iterable[str]) -> bool:
    return any(name == block or name.startswith(f"{block}.") for block in blocks)


def _kind_has(call: Call, *parts: str) -> bool:
    kind = type(call.module).__name__
    return any(part in kind for part in parts)


def _matching(
    network: Any, calls: Sequence[Call], patterns: Sequence[str], other_names: Mapping[str, str], has_input: bool
) -> tuple[list[Call], dict[str, str], list[str]]:
    """Return the calls that names and patterns mean, why others are left out, and what is wrong with the patterns."""
    all_names = [item.name for item in named_modules(network)]
    chosen: set[int] = set()
    left_out: dict[str, str] = {}
    faults: list[str] = []
    for pattern in patterns:
        name = other_names.get(pattern, pattern)
        numbers = [number for number, call in enumerate(calls) if _is_meant(call, name, all_names)]
        if pattern == INPUT_LAYER and has_input and not numbers:
            continue
        if not numbers:
            plain = _without_wrappers(name)
            numbers = [number for number, call in enumerate(calls) if _is_meant(call, plain, all_names)]
        usable = [number for number in numbers if calls[number].form is not None]
        problems = {calls[number].name: calls[number].problem for number in numbers if calls[number].form is None}
        if usable:
            chosen.update(usable)
            left_out |= problems
        elif numbers:
            first = next(iter(problems))
            faults.append(f"{first!r} cannot be measured: {problems[first]}.")
        else:
            faults.append(_no_match(pattern, all_names, [call.name for call in calls]))
    return [calls[number] for number in sorted(chosen)], left_out, faults


def _without_wrappers(name: str) -> str:
    """Return a name or pattern without the parts that `torch.compile` and `DataParallel` add to names."""
    return ".".join(part for part in name.split(".") if part not in ("_orig_mod", "module"))


def _is_meant(call: Call, pattern: str, all_names: Sequence[str]) -> bool:
    """Return whether a name or pattern means a call; a name means all calls of the module of that name."""
    if pattern == call.name:
        return True
    if pattern in all_names:
        return call.call > 0 and call.name.startswith(f"{pattern}_{call.call + 1}")
    return fnmatch.fnmatchcase(call.name, pattern)


def _no_match(pattern: str, all_names: Sequence[str], called: Sequence[str]) -> str:
    """Say that a name or pattern matches nothing, and what is near it."""
    if pattern in all_names:
        return f"{pattern!r} is not called when the network runs, as a module whose weights another one uses."
    not_called = [name for name in all_names if name and fnmatch.fnmatchcase(name, pattern)]
    if not_called:
        return f"{pattern!r} matches only modules that are not called when the network runs: {_some(not_called)}."
    near = difflib.get_close_matches(pattern, called, n=3, cutoff=0.5)
    near += [name for name in called if name.rpartition(".")[2] == pattern.rpartition(".")[2]][:3]
    hint = f"Did you mean {', '.join(dict.fromkeys(near))}?" if near else f"There are {_some(called)}."
    return f"got {pattern!r}, which matches none. {hint}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (" …" if len(names) > _MAX_NAMED else "")


def _layer(position: int, call: Call, blocks: Sequence[NamedModule]) -> TorchLayer:
    if call.form is None:
        raise ValueError(f"call must have a form; got {call.name!r}, of which {call.problem}.")
    block = next((item.name for item in blocks if _is_within(call.name, [item.name])), "")
    return TorchLayer(
        position=position,
        layer=call.name,
        kind=type(call.module).__name__,
        block=block or call.name.partition(".")[0],
        parameters=call.parameters,
        cumulative_parameters=call.cumulative_parameters,
        form=call.form,
        call=call,
    )
