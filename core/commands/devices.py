"""python -m core devices: what the products run on."""

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("devices", help="say which devices multiply")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The processor, and the GPUs that TensorFlow sees where it is installed; who makes the shortlists; the kernels."""
    from core.kernels import current_kernels
    from core.measures.devices import describe_devices
    from core.measures.products import ladder

    devices = describe_devices(load_tensorflow=True)
    kernels = current_kernels()
    first = ladder(work=1e12, k=1)[0]  # of a large search
    shortlists = "bfloat16" if first.roundoff else str(first.dtype)
    if options.json:
        for device in devices:
            device["shortlists"] = shortlists if device["multiplies"] else None
            device["kernels"] = asdict(kernels) if kernels and device["device"] == "CPU" else None
        print(json.dumps(devices))
        return 0
    for device in devices:
        cores = f", {device['cores']} cores" if device["cores"] else ""
        role = f" (multiplies; shortlists of large searches in {shortlists})" if device["multiplies"] else ""
        print(f"{device['device']}: {device['name']}{cores}{role}")
    if kernels:
        print(f"kernels of TensorFlow on the CPU: {kernels}")
    return 0
