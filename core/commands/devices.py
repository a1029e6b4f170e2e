"""python -m core devices: what the products and the network run on, and how fast."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from core.commands.terminal.arguments import JSON_HELP, add_command
from core.network.kernels import Kernels

EXAMPLES = ("", "--compare-kernels", "--json")


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "devices", "Say which devices compute products, and how fast.", EXAMPLES)
    cost = parser.add_argument_group("cost")
    cost.add_argument(
        "--compare-kernels",
        action="store_true",
        help="Also time a network with oneDNN's kernels and with TensorFlow's own, each in a process of its own.",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The processor, and the GPUs that TensorFlow sees where it is installed; what multiplies; the kernels; speeds."""
    from core.network.kernels import current_kernels
    from core.search.devices import describe_devices
    from core.search.product_speed import product_speeds

    devices = describe_devices(load_tensorflow=True)
    kernels = current_kernels()
    speeds = product_speeds()
    forward_s = _forward_seconds(kernels) if options.compare_kernels else {}
    if options.json:
        for device in devices:
            device["shortlists"] = next(iter(speeds)) if device["multiplies"] else None
            device["operations_per_s"] = speeds if device["multiplies"] else None
            device["kernels"] = asdict(kernels) if kernels and device["device"] == "CPU" else None
        if forward_s:
            devices[0]["forward_seconds"] = {_kernels_name(onednn): one for onednn, one in forward_s.items()}
        print(json.dumps(devices))
        return 0
    for device in devices:
        cores = f", {device['cores']} cores" if device["cores"] else ""
        role = f" (multiplies; shortlists of large searches in {next(iter(speeds))})" if device["multiplies"] else ""
        print(f"{device['device']}: {device['name']}{cores}{role}")
    print(f"large products: {', '.join(f'{kind} {speed / 1e9:,.0f} GFLOP/s' for kind, speed in speeds.items())}")
    if kernels:
        print(f"kernels of TensorFlow on the CPU: {kernels}")
    for onednn, seconds in forward_s.items():
        chosen = " (chosen)" if kernels and kernels.onednn == onednn else ""
        print(f"EfficientNet-Lite0, {_kernels_name(onednn)}: {1000 * seconds:.1f} ms an image{chosen}")
    return 0


def _kernels_name(onednn: bool) -> str:
    return "oneDNN" if onednn else "TensorFlow's own kernels"


def _forward_seconds(kernels: Kernels | None) -> dict[bool, float]:
    if kernels is None:
        raise ValueError("compare-kernels must go with TensorFlow, which is not installed. Leave it out.")
    from core.network.kernel_speed import forward_seconds

    return forward_seconds()
