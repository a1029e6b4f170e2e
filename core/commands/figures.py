"""python -m core figures: a study as figures for a paper, each with its caption as text."""

import argparse
from pathlib import Path
from typing import Any

from core.commands.terminal.arguments import add_command
from core.report.chart_files import FORMATS
from core.report.figures import WIDTHS_MM, make_figures, write_figures
from core.study.store.opening import load_study

EXAMPLES = (
    "my-study --out figures",
    "my-study --out figures --format svg --width double",
    "before after --out figures --samples test",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(
        commands,
        "figures",
        "Write a study as figures for a paper, each with its caption as text: SI, parameters and depth of each layer, "
        "SI against each, and SI before and after.",
        EXAMPLES,
    )
    data = parser.add_argument_group("data")
    data.add_argument("study", metavar="STUDY", help="Folder of the study.")
    data.add_argument(
        "after",
        metavar="STUDY_AFTER",
        nargs="?",
        help="Folder of a study of the same samples, such as after fine-tuning. Default: no figure of two studies.",
    )
    data.add_argument(
        "--samples",
        choices=("test", "train", "cross"),
        help="Samples to show; cross is test samples among the training samples. Default: test and training samples, "
        "each by themselves.",
    )
    measures = parser.add_argument_group("measures")
    measures.add_argument(
        "--pooling",
        choices=("mean", "flat"),
        help="Features of a layer: channel means, or all activations. Default: mean, or flat where there are no means.",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", required=True, help="Folder to write the figures and captions to.")
    output.add_argument("--format", choices=FORMATS, default="pdf", help="Format of the figures. Default: %(default)s.")
    output.add_argument(
        "--width",
        choices=tuple(WIDTHS_MM),
        default="single",
        help="Width for one column (89 mm) or for two (183 mm). Default: %(default)s.",
    )
    parser.set_defaults(run=run, interrupted="Figures written so far are complete.")


def run(options: argparse.Namespace) -> int:
    """Write the figures and print their paths."""
    after = load_study(options.after) if options.after else None
    figures = make_figures(load_study(options.study), after, samples=options.samples, pooling=options.pooling)
    for path in write_figures(figures, Path(options.out), file_format=options.format, width=options.width):
        print(path)
    return 0
