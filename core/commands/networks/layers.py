"""python -m core layers: what a network consists of."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from core.commands.terminal.arguments import JSON_HELP, add_command, at_least

EXAMPLES = (
    "efficientnet-lite0",
    "efficientnet-b0 --layers main,avg_pool --json",
    "resnet50 --input-size 160",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "layers", "List the layers of a network.", EXAMPLES)
    network = parser.add_argument_group("network")
    network.add_argument("model", metavar="MODEL", help="Name of a network, or a .keras or .h5 file.")
    network.add_argument(
        "--input-size",
        type=at_least(1),
        metavar="PIXELS",
        help="Height and width of the network's images. Default: the network's own.",
    )
    layers = parser.add_argument_group("layers")
    layers.add_argument(
        "--layers",
        default="all",
        metavar="LAYERS",
        help="Layers to list, separated by commas: main, last_pool (the last global pooling), output, all, blocks, "
        "names, and patterns such as 'block*_add'. Default: %(default)s.",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the catalogue of a network, one row a layer."""
    from core.network.catalogue import catalogue, select_layers
    from core.network.models.registry import is_model_file, load_network

    weights = None if is_model_file(options.model) else "none"
    network = load_network(options.model, weights, input_size=options.input_size)
    layers = select_layers(catalogue(network.model), options.layers)
    if options.json:
        print(json.dumps([_as_row(layer) for layer in layers], indent=1))
        return 0
    width = max(28, *(len(layer.layer) for layer in layers))
    print(f"{'position':>8}  {'layer':{width}} {'kind':24} {'output':>16} {'parameters':>12} {'main':>5}")
    for layer in layers:
        shape = " × ".join(map(str, layer.output_shape))
        main_mark = "main" if layer.is_main else ""
        sizes = f"{shape:>16} {layer.parameters:12,}"
        print(f"{layer.position:8}  {layer.layer:{width}} {layer.kind:24} {sizes} {main_mark:>5}")
    return 0


def _as_row(layer: Any) -> dict[str, Any]:
    return asdict(layer) | {"main": layer.is_main}
