"""python -m core blocks: the accuracy of a study's network without each of its blocks, and SI across them."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import pandas as pd

from core.analysis.comparing import MEASURES
from core.analysis.cut.blocks import (
    ACCURACY_TOLERANCE,
    NOT_TRIED,
    Verified,
    cannot_verify,
    separation_across_blocks,
    verify_blocks,
    with_verified,
)
from core.analysis.cut.verified_blocks import FILE, load_verified, save_verified
from core.commands.terminal.arguments import JSON_HELP, add_command, add_network_study
from core.commands.terminal.progress import add_progress, interrupt_when_terminated, progress_on
from core.report.words.blocks import ALONE, NO_MEASUREMENT, blocks_text
from core.report.words.formatting import difference_text
from core.study.reopening import reopen_plan
from core.study.store.opening import Study, load_study

EXAMPLES = (
    "my-study",
    "my-study --verify",
    "my-study --verify --tolerance 0.02 --json",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "blocks", "Say which blocks a study's network can do without.", EXAMPLES)
    add_network_study(parser, images_for="--verify")
    measures = parser.add_argument_group("measures")
    measures.add_argument(
        "--verify",
        action="store_true",
        help="Take out each residual block, measure the accuracy without it, and keep it in the study.",
    )
    measures.add_argument(
        "--tolerance",
        type=_tolerance,
        default=ACCURACY_TOLERANCE,
        metavar="T",
        help="Loss of accuracy up to which a block is not needed. Default: %(default)s.",
    )
    measures.add_argument(
        "--pooling", default="mean", choices=("mean", "flat"), help="Pooling of the SI shown. Default: %(default)s."
    )
    measures.add_argument(
        "--measure",
        choices=MEASURES,
        default=MEASURES[0],
        help="SI to show: within a split, or of test samples among training samples (cross). Default: %(default)s.",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help=JSON_HELP)
    add_progress(output)
    parser.set_defaults(run=run, interrupted="Nothing is kept; the same command starts again.")


def run(options: argparse.Namespace) -> int:
    """Measure the accuracy without each block if asked, and print what is known of each."""
    interrupt_when_terminated()
    study = load_study(options.study)
    blocks = separation_across_blocks(study, pooling=options.pooling, measure=options.measure)
    verified = _verify(study, blocks, options) if options.verify else load_verified(study)
    table = with_verified(blocks, verified, options.tolerance)
    if options.json:
        print(json.dumps(_as_json(table, verified, options.tolerance), indent=1))
        return 0
    print(_lines(table).to_string(index=False))
    if verified is None:
        reason = cannot_verify(study)
        print(NO_MEASUREMENT, reason or f"python -m core blocks {options.study} --verify measures it.")
        return 0
    print(_without_marks(blocks_text(table, verified, options.tolerance)))
    print(ALONE)
    return 0


def _verify(study: Study, blocks: pd.DataFrame, options: argparse.Namespace) -> Verified:
    report = progress_on(sys.stderr, options.progress)
    try:
        plan = reopen_plan(study, data=options.data, weights=options.weights, progress=report)
        verified = verify_blocks(plan, blocks, tolerance=options.tolerance, progress=report)
    finally:
        report.close()
    try:
        save_verified(study, plan, verified)
    except OSError as error:
        print(f"note: {FILE} could not be written into {study.path}, so nothing is kept: {error}", file=sys.stderr)
    return verified


def _as_json(table: pd.DataFrame, verified: Verified | None, tolerance: float) -> dict[str, Any]:
    content: dict[str, Any] = {"blocks": json.loads(table.to_json(orient="records")), "verified": None}
    if verified is not None:
        together = verified.together and asdict(verified.together)
        content["verified"] = {
            "accuracy": verified.accuracy,
            "num_test": verified.num_test,
            "level": verified.level,
            "tolerance": tolerance,
            "together": together,
        }
    return content


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is printed."""
    lines = pd.DataFrame({"block": table["block"]})
    if (table["verdict"] != NOT_TRIED).any():
        lines["without it"] = table["accuracy"].map("{:.3f}".format, na_action="ignore").fillna("")
        lines["change"] = _changes(table["change"], table["change_low"], table["change_high"])
        lines["verdict"] = table["verdict"]
    return lines.assign(
        parameters=table["parameters"].map("{:,.0f}".format),
        **{"SI before": table["before"].map("{:.3f}".format)},
        after=table["after"].map("{:.3f}".format),
        difference=_changes(table["difference"], table["low"], table["high"]),
    )


def _changes(values: pd.Series, lows: pd.Series, highs: pd.Series) -> list[str]:
    rows = zip(values, lows, highs, strict=True)
    return ["" if pd.isna(value) else difference_text(value, low, high) for value, low, high in rows]


def _without_marks(text: str) -> str:
    """Markdown as plain text."""
    return text.replace("**", "").replace("`", "")


def _tolerance(text: str) -> float:
    """A loss of accuracy between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, such as 0.01; got {text!r}.")
    return value
