"""python -m core devices: what the products run on."""

import argparse
import json
from typing import Any


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("devices", help="say which devices multiply")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The processor, and the GPUs that TensorFlow sees where it is installed; and who makes the shortlists."""
    from core.measures.devices import describe_devices
    from core.measures.products import ladder

    devices = describe_devices(load_tensorflow=True)
    first = ladder(work=1e12, k=1)[0]  # of a large search
    shortlists = "bfloat16" if first.roundoff else str(first.dtype)
    if options.json:
        print(json.dumps([device | {"shortlists": shortlists if device["multiplies"] else None} for device in devices]))
        return 0
    for device in devices:
        cores = f", {device['cores']} cores" if device["cores"] else ""
        role = f" (multiplies; shortlists of large searches in {shortlists})" if device["multiplies"] else ""
        print(f"{device['device']}: {device['name']}{cores}{role}")
    return 0
