"""One run of a network that records which modules are called, in which order, and what they return."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.network.torch_models.modules import NamedModule, count_parameters, named_modules
from core.network.torch_models.operations import UNKNOWN, OperationCount, count_operations
from core.network.torch_models.outputs import Layout, OutputForm, find_tensor

Run = Callable[[int], None]  # runs the network on the first samples of a batch, as many as given

OUTPUT_CALL = "output"  # the call of the network itself

_CHANNELS_FIRST = re.compile(
    r"(Lazy)?(Conv|BatchNorm|InstanceNorm)|GroupNorm|\w*Pool[123]d|\w*Norm2d|SyncBatchNorm|Pixel(Uns|S)huffle"
)
_CHANNELS_LAST = re.compile(
    r"\w*Linear|LayerNorm|RMSNorm|Embedding|MultiheadAttention|Transformer(En|De)coder(Layer)?$"
)
_CLASS_TOKEN = re.compile(r"(^|\.)(class|cls)_(token|embedding|embed)s?$")
_MAX_EXTRA_TOKENS = 64  # class, distillation and register tokens in addition to those of the patches


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module in a run of a network.

    Attributes
    ----------
    name : str
        The module's name; the second call is called `name_2`, and so on.
    module : torch.nn.Module
        The module.
    call : int
        Which of the module's calls it is, from 0.
    has_children : bool
        Whether there are modules in it.
    parameters : int
        Number of parameters of the module and all modules in it.
    cumulative_parameters : int
        Number of parameters that were used up to the end of the call; each counts once.
    part : str
        Which part of the output is the tensor that is measured; "" for all of it.
    form : OutputForm or None
        The form of that tensor; None where it has not one row a sample.
    problem : str
        Why there is no form.
    operations : OperationCount
        Operations of one sample from the input to the end of the call.
    """

    name: str
    module: Any
    call: int
    has_children: bool
    parameters: int
    cumulative_parameters: int
    part: str
    form: OutputForm | None
    problem: str = ""
    operations: OperationCount = UNKNOWN


def trace(network: Any, run: Run, num_samples: int, *, tokens: str = "auto") -> list[Call]:
    """Run a network on a batch, and return the calls of all modules in the order in which they end.

    The network runs on two numbers of samples, which tells the axis of the samples from others of the same size, and
    once more while its operations are counted.

    Parameters
    ----------
    network : torch.nn.Module
        The network, in inference mode.
    run : callable
        Runs the network on the first samples of the batch, as many as it is given.
    num_samples : int
        Number of samples of the batch.
    tokens : {"auto", "mean", "class"}
        Whether the class token of a sequence of tokens stands for the sample: if there is one, never, or always.
    """
    records = _record(network, run, num_samples)
    others: list[tuple[int, ...] | None] | None = None
    if num_samples > 1:
        others = [record.shape for record in _record(network, run, num_samples - 1)]
        others = others if len(others) == len(records) else None
    counts: dict[str, int] = {}
    names = {item.name for item in named_modules(network)}
    output_name = OUTPUT_CALL if OUTPUT_CALL not in names else f"{OUTPUT_CALL} of the network"
    class_tokens = _class_token_sizes(network)
    operations = count_operations(named_modules(network), run, num_samples)
    layouts = _layouts(records)
    calls = []
    for number, record in enumerate(records):
        call = counts.get(record.item.name, 0)
        counts[record.item.name] = call + 1
        other = None if others is None else others[number]
        form, problem = _form(record.shape, layouts[number], num_samples, other)
        if form is not None and _takes_class_token(form, tokens, class_tokens, records[: number + 1], layouts):
            form = replace(form, class_token=True)
        calls.append(
            Call(
                name=_call_name(record.item.name or output_name, call, names),
                module=record.item.module,
                call=call,
                has_children=bool(record.item.module._modules),
                parameters=count_parameters(record.item.module),
                cumulative_parameters=record.cumulative_parameters,
                part=record.part,
                form=form,
                problem=problem,
                operations=operations.get((record.item.name, call), UNKNOWN),
            )
        )
    return calls


@dataclass(eq=False)
class _Record:
    item: NamedModule
    cumulative_parameters: int
    shape: tuple[int, ...] | None
    part: str
    same_first_token: tuple[bool, bool]  # whether it is the same for all samples, where these are on the axis 0 or 1


@dataclass(eq=False)
class _Recorder:
    """The hooks of one run; all are removed afterwards."""

    records: list[_Record] = field(default_factory=list)
    counted: set[int] = field(default_factory=set)
    total: int = 0

    def begin(self, module: Any, inputs: Any) -> None:
        """Count the parameters of the module itself; those of modules in it count when these are called."""
        for parameter in module.parameters(recurse=False):
            self._count(parameter)

    def end(self, item: NamedModule, output: Any) -> None:
        for parameter in item.module.parameters():
            self._count(parameter)
        tensor, part = find_tensor(output)
        shape = None if tensor is None else tuple(tensor.shape)
        self.records.append(_Record(item, self.total, shape, part, _same_first_token(tensor)))

    def _count(self, parameter: Any) -> None:
        if id(parameter) not in self.counted:
            self.counted.add(id(parameter))
            self.total += parameter.numel()


def _same_first_token(tensor: Any) -> tuple[bool, bool]:
    """Return whether the first token is the same for several samples, if these are on the first or the second axis."""
    if tensor is None or tensor.ndim != 3 or not tensor.numel():
        return False, False
    by_axis = (tensor[:, 0], tensor[0])
    return tuple(len(tokens) > 1 and bool((tokens == tokens[:1]).all()) for tokens in by_axis)  # type: ignore[return-value]


def _record(network: Any, run: Run, num_samples: int) -> list[_Record]:
    recorder = _Recorder()
    handles = []
    try:
        for item in named_modules(network):
            handles.append(item.module.register_forward_pre_hook(recorder.begin))
            handles.append(
                item.module.register_forward_hook(lambda module, inputs, output, item=item: recorder.end(item, output))
            )
        run(num_samples)
    finally:
        for handle in handles:
            handle.remove()
    return recorder.records


def _form(
    shape: tuple[int, ...] | None, layout: Layout, num_samples: int, other: tuple[int, ...] | None
) -> tuple[OutputForm | None, str]:
    """Return the form of an output, or why it has none.

    other : its shape for one sample less, where this is known.
    """
    if shape is None:
        return None, "it returns no tensor"
    for axis in (0, 1):
        if len(shape) <= axis or shape[axis] != num_samples or (axis == 1 and len(shape) == 2):
            continue
        if other is not None and (len(other) <= axis or other[axis] != num_samples - 1):
            continue
        sample_shape = (*shape[:axis], *shape[axis + 1 :])
        return OutputForm(axis, sample_shape, layout), ""
    return None, f"it returns shape {shape} for {num_samples} samples, not one row a sample"


def _layouts(records: Sequence[_Record]) -> list[Layout]:
    """Return where the channels of each output are.

    Convolutions, pooling and batch normalization have them on the second axis, linear layers, layer normalization and
    attention on the last one. Other modules have them where the last output of the same shape has them; without one, on
    the last axis of a sequence, and on the second axis of more axes.
    """
    layouts: list[Layout] = []
    last_by_shape: dict[tuple[int, ...], Layout] = {}
    for number, record in enumerate(records):
        layout = _own_layout(record.item.module)
        if layout is None and number and type(record.item.module).__name__ == "Permute":
            layout = _permuted(record.item.module, layouts[number - 1])
        if layout is None and record.shape is not None:
            layout = last_by_shape.get(record.shape)
        if layout is None:
            has_more_axes = record.shape is not None and len(record.shape) > 3
            layout = Layout.CHANNELS_FIRST if has_more_axes else Layout.CHANNELS_LAST
        if record.shape is not None:
            last_by_shape[record.shape] = layout
        layouts.append(layout)
    return layouts


def _own_layout(module: Any) -> Layout | None:
    """Return where the channels of a module's output are by its class or a base of it; None where that says nothing."""
    for base in type(module).__mro__:
        if _CHANNELS_FIRST.match(base.__name__):
            return Layout.CHANNELS_FIRST
        if _CHANNELS_LAST.match(base.__name__):
            return Layout.CHANNELS_LAST
    return None


def _permuted(module: Any, before: Layout) -> Layout | None:
    """Return where torchvision's `Permute` moves the channels; None if it does not move them between the two places."""
    dims = tuple(getattr(module, "dims", ()))
    if dims and dims[-1] == 1 and before is Layout.CHANNELS_FIRST:
        return Layout.CHANNELS_LAST
    if len(dims) > 1 and dims[1] == len(dims) - 1 and before is Layout.CHANNELS_LAST:
        return Layout.CHANNELS_FIRST
    return None


def _class_token_sizes(network: Any) -> set[int]:
    """Return the number of channels of each class token that the network has."""
    return {
        int(parameter.shape[-1])
        for name, parameter in network.named_parameters()
        if _CLASS_TOKEN.search(name) and parameter.ndim
    }


def _takes_class_token(
    form: OutputForm, tokens: str, sizes: set[int], records: Sequence[_Record], layouts: Sequence[Layout]
) -> bool:
    """Return whether the class token stands for the sample.

    A network that has one adds it to the tokens of the patches. Where a convolution made these, the sequence must be
    longer than its output has positions: some networks add the class token only to their last blocks. Before attention,
    the class token is the same for all samples, and the mean is taken.

    records : those of all calls up to and including this one.
    """
    is_sequence = len(form.shape) == 2 and form.layout is Layout.CHANNELS_LAST
    if not is_sequence or tokens == "mean":
        return False
    if tokens == "class":
        return True
    num_tokens, channels = form.shape
    if channels not in sizes or records[-1].same_first_token[form.batch_axis]:
        return False
    for record, layout in zip(records[:-1], layouts, strict=False):
        shape = record.shape
        if shape is None or len(shape) != 4 or layout is not Layout.CHANNELS_FIRST or shape[1] != channels:
            continue
        num_patches = shape[2] * shape[3]
        return num_patches < num_tokens <= num_patches + _MAX_EXTRA_TOKENS
    return True


def _call_name(name: str, call: int, names: set[str]) -> str:
    """Return the name of a call; further calls of a module are numbered, as further calls of a layer are in Keras."""
    if call == 0:
        return name
    candidate = f"{name}_{call + 1}"
    while candidate in names:
        candidate += "_"
    return candidate
