"""A study of PyTorch networks on a GPU, beside the bare forward pass and hooks written by hand.

    python -m tests.benchmarks.torch_on_gpu [--device cuda] [--samples 1797] [--out FOLDER]

Run from the project's root in an environment with torch and torchvision. The images are scikit-learn's digits, resized
to 224 pixels; the weights are random.

- forward_s: seconds of a bare loop over the loader, in inference mode, with the outputs taken to the host.
- study_s: seconds of `core.study_from_torch` with its defaults, from the first batch to the tables on disk; of these
  reading_s until the last batch, the rest measures the layers on the processor.
- hooks_s: seconds of the same loop with hooks written by hand that take the channel means of the same layers.
- forward_gib, study_gib: memory of the device at most, weights included.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import core
from core.study.plan import Progress
from tests.benchmarks.report import RESULTS, write_report

NETWORKS = ("resnet50", "vit_b_16", "swin_t")
TYPES = (torch.float32, torch.bfloat16)
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--samples", type=int, default=1797)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU that PyTorch can use; pass --device cpu")
    data = digits(options.samples)
    rows = [compare(name, dtype, data, options.device) for name in options.networks for dtype in TYPES]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    write_report(table, "torch_on_gpu", options.out)


def digits(count: int) -> TensorDataset:
    """The first images, shape (count, 3, 224, 224), and their labels."""
    found = load_digits()
    gray = torch.from_numpy(found.images[:count].astype(np.float32) / 16)[:, None]
    images = torch.nn.functional.interpolate(gray, size=(224, 224), mode="nearest").expand(-1, 3, -1, -1)
    return TensorDataset(images.contiguous(), torch.from_numpy(found.target[:count].astype(np.int64)))


def compare(name: str, dtype: torch.dtype, data: TensorDataset, device: str) -> dict[str, Any]:
    """The table's row of a network and a type of numbers."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).to(device, dtype).eval()
    loader = DataLoader(data, batch_size=BATCH)
    bare_pass(model, loader)  # chooses kernels
    reset_peak(device)
    start = time.perf_counter()
    bare_pass(model, loader)
    forward_s, forward_gib = time.perf_counter() - start, peak_gib(device)
    stages: list[tuple[float, str]] = []

    def note(report: Progress) -> None:
        stages.append((time.perf_counter(), report.stage))

    reset_peak(device)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        study = core.study_from_torch(model, loader, f"{folder}/study", progress=note)
        study_s = time.perf_counter() - start
        layers = study.layers["layer"].tolist()
    study_gib = peak_gib(device)
    start_hooks = time.perf_counter()
    pass_with_hooks(model, loader, layers)
    hooks_s = time.perf_counter() - start_hooks
    first_measured = next(at for at, stage in stages if stage.startswith("measuring"))
    return {
        "network": name,
        "type": str(dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "images": len(data),
        "layers": len(layers),
        "forward_s": forward_s,
        "hooks_s": hooks_s,
        "reading_s": first_measured - start,
        "study_s": study_s,
        "ratio": study_s / forward_s,
        "forward_gib": forward_gib,
        "study_gib": study_gib,
    }


def batches(model: torch.nn.Module, loader: DataLoader[Any]) -> Iterator[torch.Tensor]:
    weight = next(model.parameters())
    for images, _ in loader:
        yield images.to(weight.device, weight.dtype)


@torch.inference_mode()
def bare_pass(model: torch.nn.Module, loader: DataLoader[Any]) -> None:
    for images in batches(model, loader):
        model(images).float().cpu()


@torch.inference_mode()
def pass_with_hooks(model: torch.nn.Module, loader: DataLoader[Any], layers: list[str]) -> None:
    """The forward pass with hooks as one writes them by hand: each takes its channel means to the host at once."""
    found: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
    modules = dict(model.named_modules())

    def keep(name: str) -> Any:
        return lambda module, inputs, output: found[name].append(means(output).cpu())

    hooks = [modules[name].register_forward_hook(keep(name)) for name in layers]
    bare_pass(model, loader)
    for hook in hooks:
        hook.remove()


def means(output: torch.Tensor) -> torch.Tensor:
    """Over the axes between samples and channels of a sequence, or after the channels of a map, in float32."""
    axes = {2: (), 3: (1,), 4: (2, 3)}[output.ndim]
    return output.float().mean(dim=axes) if axes else output.float()


def reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")


if __name__ == "__main__":
    main()
