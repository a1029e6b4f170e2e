"""The modules of a PyTorch network: their names, without wrappers, and the network in inference mode."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

MAX_DEPTH_OF_WRAPPERS = 20


@dataclass(frozen=True, eq=False)
class NamedModule:
    """A module of a network.

    Attributes
    ----------
    name : str
        As in `model.named_modules()`, without the parts that wrappers add; "" for the network itself.
    module : torch.nn.Module
        The module, never a wrapper.
    """

    name: str
    module: Any


def unwrap(module: Any) -> Any:
    """Return the module inside `torch.compile`, `DataParallel` and `DistributedDataParallel`, or the module itself."""
    for _ in range(MAX_DEPTH_OF_WRAPPERS):
        attribute = _wrapped_attribute(module)
        if attribute is None:
            return module
        module = getattr(module, attribute)
    return module


def named_modules(model: Any) -> list[NamedModule]:
    """List a network and all modules in it in the order of `model.named_modules()`, each module once.

    Parameters
    ----------
    model : torch.nn.Module
        The network; wrappers in it are passed over, so that `_orig_mod` and `module` are in no name.
    """
    return [item for item, is_first in _walk(unwrap(model), "", set()) if is_first]


def aliases(model: Any) -> dict[str, str]:
    """Return the further names of modules that have several, each with the name that `named_modules` lists."""
    first_names: dict[int, str] = {}
    other_names: dict[str, str] = {}
    for item, is_first in _walk(unwrap(model), "", set()):
        if is_first:
            first_names[id(item.module)] = item.name
        else:
            other_names[item.name] = first_names[id(item.module)]
    return other_names


def check_model(model: Any) -> Any:
    """Return the network without wrappers, after checking that its activations can be computed.

    Raises
    ------
    ValueError
        If it is no `torch.nn.Module`, is TorchScript, or its parameters are on the meta device or not initialized.
    ModuleNotFoundError
        If PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "A study of a PyTorch network needs the package torch, which is not installed. In the project's folder, "
            "run: pip install -e '.[torch]'",
            name="torch",
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model must be a torch.nn.Module; got {type(model).__name__}. Pass the network itself.")
    network = unwrap(model)
    for item in named_modules(network):
        if isinstance(item.module, torch.jit.ScriptModule):
            raise ValueError(
                "model must consist of Python modules, which can have hooks; got TorchScript"
                f"{f' in {item.name!r}' if item.name else ''}. Pass the network that it was made from."
            )
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if torch.nn.parameter.is_lazy(value):
            raise ValueError(
                f"model must be initialized; {name!r} gets its shape from the first batch. Run one batch through it."
            )
        if value.device.type == "meta":
            raise ValueError(
                f"model must have weights; got {name!r} on the meta device, which holds none. Use "
                "model.to_empty(device='cpu') and load weights, or build the network without the meta device."
            )
    return network


def device_of(network: Any) -> Any:
    """Return the device of the first parameter or buffer; the CPU where there is neither."""
    import torch

    values = [*network.parameters(), *network.buffers()]
    return values[0].device if values else torch.device("cpu")


def dtype_of(network: Any) -> Any:
    """Return the floating-point type of the first parameter or buffer that has one; float32 where there is none."""
    import torch

    for value in (*network.parameters(), *network.buffers()):
        if value.is_floating_point():
            return value.dtype
    return torch.float32


def count_parameters(module: Any, counted: set[int] | None = None) -> int:
    """Return the number of parameters in a module, each once; those in `counted` are left out, and then added to it."""
    counted = set() if counted is None else counted
    total = 0
    for parameter in module.parameters():
        if id(parameter) not in counted:
            counted.add(id(parameter))
            total += parameter.numel()
    return total


def weights_hash(network: Any) -> str:
    """Return the SHA-256 of all parameters and buffers with their names."""
    import torch

    digest = hashlib.sha256()
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        plain = value.detach().cpu()
        if plain.is_quantized or plain.layout != torch.strided:
            plain = plain.dequantize() if plain.is_quantized else plain.to_dense()
        digest.update(plain.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@contextmanager
def inference(network: Any) -> Iterator[None]:
    """Put a network into inference mode, without gradients and compiled parts; afterwards each module is as before."""
    import torch

    training = [(module, module.training) for module in network.modules()]
    try:
        _set_evaluating(network)
        with torch.inference_mode(), _eager(network):
            yield
    finally:
        for module, was_training in training:
            module.training = was_training


def _set_evaluating(network: Any) -> None:
    try:
        network.eval()
    except NotImplementedError as error:
        raise ValueError(
            f"model must have a mode for inference; got {type(network).__name__} of torch.export, which has none. Pass "
            "the network that it was made from."
        ) from error


def _eager(network: Any) -> Any:
    """Run compiled modules as they were written: a compiled one may not call hooks."""
    import torch

    is_compiled = any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for module in network.modules()
    )
    set_stance = getattr(torch.compiler, "set_stance", None)  # from PyTorch 2.6 on
    return set_stance("force_eager") if is_compiled and set_stance is not None else nullcontext()


def _wrapped_attribute(module: Any) -> str | None:
    """Return the name of the attribute that holds the wrapped module; None if the module is no wrapper."""
    import torch

    if "_orig_mod" in getattr(module, "_modules", {}):  # torch.compile
        return "_orig_mod"
    if isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        return "module"
    return None


def _walk(module: Any, name: str, seen: set[int]) -> Iterator[tuple[NamedModule, bool]]:
    """Yield a module and all modules in it, and whether each of them comes for the first time."""
    is_first = id(module) not in seen
    yield NamedModule(name, module), is_first
    if not is_first:
        return
    seen.add(id(module))
    for child_name, child in _children(module):
        yield from _walk(unwrap(child), f"{name}.{child_name}" if name else child_name, seen)


def _children(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the direct children by name, those that occur twice both times."""
    for name, child in module._modules.items():
        if child is not None:
            yield name, child
