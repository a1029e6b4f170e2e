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
    """The processor, and the GPUs that TensorFlow sees where it is installed."""
    from core.measures.devices import describe_devices

    devices = describe_devices(load_tensorflow=True)
    if options.json:
        print(json.dumps(devices, indent=1))
        return 0
    for device in devices:
        cores = f", {device['cores']} cores" if device["cores"] else ""
        print(f"{device['device']}: {device['name']}{cores}{' (multiplies)' if device['multiplies'] else ''}")
    return 0
