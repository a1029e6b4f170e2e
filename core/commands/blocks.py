"""python -m core blocks: the blocks of a study's network across which SI does not rise, tried out where possible."""

import argparse
import json
import sys
from typing import Any

import pandas as pd

from core.commands.progress import add_progress, interrupt_when_terminated, progress_on
from core.study.blocks import HARMLESS, Verified, redundant_blocks, verify_blocks
from core.study.comparing import MEASURES
from core.study.reopening import reopen_plan
from core.study.results import Study, load_study


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("blocks", help="blocks of a study's network that may be redundant")
    add = parser.add_argument
    add("study", metavar="STUDY", help="the folder of a study of a network")
    add("--verify", action="store_true", help="take each residual block out, and measure the accuracy without it")
    add("--pooling", default="mean", choices=("mean", "flat"), help="default: %(default)s")
    add("--measure", choices=MEASURES, default=MEASURES[0], help="default: %(default)s")
    add("--data", metavar="DATA", help="where the study's images lie now, to verify (default: where they lay)")
    add("--weights", metavar="FILE", help="where the study's .keras or .h5 file lies now (default: where it lay)")
    add("--json", action="store_true", help="results for machines")
    add_progress(parser)
    parser.set_defaults(run=run, interrupted="Nothing is kept; the same command starts again.")


def run(options: argparse.Namespace) -> int:
    """Print what SI says of each block, or, verified, what the accuracy says as well."""
    interrupt_when_terminated()
    study = load_study(options.study)
    blocks = redundant_blocks(study, pooling=options.pooling, measure=options.measure)
    verified = _verified(study, blocks, options) if options.verify else None
    table = blocks if verified is None else verified.blocks
    if options.json:
        found: dict[str, Any] = {"blocks": json.loads(table.to_json(orient="records"))}
        if verified is not None:
            together = json.loads(verified.together.to_json(orient="records"))
            found |= {"accuracy": verified.accuracy, "num_test": verified.num_test, "together": together}
        print(json.dumps(found, indent=1))
        return 0
    print(_lines(table).to_string(index=False))
    redundant = blocks[blocks["redundant"]]
    share = redundant["parameters_share"].sum()
    print(f"SI does not certainly rise across {len(redundant)} of {len(blocks)} blocks, {share:.0%} of the parameters.")
    if verified is not None:
        _print_verified(verified)
    return 0


def _verified(study: Study, blocks: pd.DataFrame, options: argparse.Namespace) -> Verified:
    report = progress_on(sys.stderr, options.progress)
    try:
        plan = reopen_plan(study, data=options.data, weights=options.weights, progress=report)
        return verify_blocks(plan, blocks, progress=report)
    finally:
        report.close()


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is printed."""
    lines = pd.DataFrame(
        {
            "block": table["block"],
            "SI before": table["before"].map("{:.3f}".format),
            "after": table["after"].map("{:.3f}".format),
            "rise": _spans(table["difference"], table["low"], table["high"]),
            "parameters": table["parameters"].map("{:,.0f}".format),
            "advice": table["redundant"].map({True: "redundant", False: "keep"}),
        }
    )
    if "bypassed" not in table:
        return lines
    changes = _spans(table["change"], table["change_low"], table["change_high"])
    right = table["right"].map({True: "right", False: "wrong"})
    without = table["bypassed"].map("{:.3f}".format).rename("without it")
    return pd.concat([lines, without], axis=1).assign(change=changes, was=right)


def _spans(values: pd.Series, lows: pd.Series, highs: pd.Series) -> list[str]:
    return [f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" for value, low, high in zip(values, lows, highs, strict=True)]


def _print_verified(verified: Verified) -> None:
    blocks = verified.blocks
    advised, kept = blocks[blocks["redundant"]], blocks[~blocks["redundant"]]
    print(f"accuracy of the whole network on {verified.num_test:,} test images: {verified.accuracy:.3f}")
    print(
        f"redundant, and without it at most {100 * HARMLESS:.0f} point lost: {advised['harmless'].sum()} of "
        f"{len(advised)}. To be kept, and more lost: {(~kept['harmless']).sum()} of {len(kept)}. "
        "Each block was taken out alone, and nothing trained again."
    )
    for row in verified.together.itertuples():
        print(
            f"all {row.num_blocks} {'redundant' if row.redundant else 'others'} at once, {row.parameters:,.0f} "
            f"parameters: {row.bypassed:.3f}, {row.change:+.3f} [{row.change_low:+.3f}, {row.change_high:+.3f}]"
        )
