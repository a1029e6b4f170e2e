"""python -m core fine-tune: a network learns the classes of labelled images."""

import argparse
import json
import os
import sys
import time
from dataclasses import fields
from typing import Any

from core.commands.terminal.arguments import (
    JSON_HELP,
    add_command,
    print_notes,
)
from core.commands.terminal.option_flags import add_options
from core.commands.terminal.progress import StatusLine, add_overwrite, interrupt_when_terminated
from core.study.options import options_of
from core.training.augmentation import Augmentation
from core.training.fine_tuning import FineTuned, FineTuneOptions, fine_tune
from core.training.options import TrainingOptions
from core.training.phases import TrainingProgress

GROUPS = ("data", "network", "training", "augmentation", "cost", "output")
EXAMPLES = (
    "path/to/images --out tuned",
    "path/to/images --head-epochs 10 --tail-epochs 0 --out tuned-head",
    "path/to/images --unfreeze block6a_expand_conv --out tuned --separation tuned-study",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "fine-tune", "Train a new head for a network, then its tail.", EXAMPLES)
    groups = {title: parser.add_argument_group(title) for title in GROUPS}
    for declaring in (FineTuneOptions, TrainingOptions, Augmentation):
        for group in groups.values():
            add_options(group, options_of(declaring).values())
    _add_output(groups["output"])
    parser.set_defaults(run=run, interrupted="The same command goes on from the last whole epoch.")


def _add_output(group: Any) -> None:
    group.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="Folder to write the networks to; a training that was interrupted there goes on.",
    )
    add_overwrite(group, "training")
    group.add_argument(
        "--separation",
        metavar="DIR",
        help="Folder of a study to record SI in during the training, which the page Training plays. Default: none.",
    )
    group.add_argument("--json", action="store_true", help=JSON_HELP)


def run(options: argparse.Namespace) -> int:
    interrupt_when_terminated()
    report = TrainingLine(sys.stderr)
    try:
        tuned = fine_tune(
            _asked(options),
            options.out,
            separation=options.separation,
            progress=report,
            overwrite=options.overwrite,
        )
    finally:
        report.close()
    print_notes(tuned.info.get("notes", []))
    _print_result(tuned, as_json=options.json)
    return 0


def _asked(options: argparse.Namespace) -> FineTuneOptions:
    given = vars(options)
    augmentation = Augmentation(**{one.name: given[one.name] for one in fields(Augmentation)})
    training = TrainingOptions(
        augmentation=augmentation,
        **{one.name: given[one.name] for one in fields(TrainingOptions) if one.name != "augmentation"},
    )
    further = {one.name: given[one.name] for one in fields(FineTuneOptions) if one.name != "training"}
    return FineTuneOptions(training=training, **further)


def _print_result(tuned: FineTuned, *, as_json: bool) -> None:
    if as_json:
        rows = json.loads(tuned.history.to_json(orient="records"))
        files = {"head": os.fspath(tuned.head), "final": os.fspath(tuned.final)}
        print(
            json.dumps(
                {"path": os.fspath(tuned.path), "state": tuned.info["state"], **files, "history": rows}, indent=1
            )
        )
        return
    print(tuned.history.to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    print(f"written to {tuned.final}; after the first phase: {tuned.head}")


class TrainingLine(StatusLine):
    """Shows a training on a stream, and keeps the line of each epoch."""

    def __call__(self, progress: TrainingProgress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._begin(progress.stage, progress.done, now)
            self._shown = now
        last = progress.result is not None if progress.epochs else progress.done == progress.total
        if not last and now - self._shown < self._interval_s:
            return
        self._show(f"{_where(progress)}{self._pace(progress, now)}", now)
        if progress.result is not None:
            self.close()  # an epoch's numbers stay

    def _pace(self, progress: TrainingProgress, now: float) -> str:
        """Images a second in this stage, and the time that it will still take."""
        done, elapsed_s = progress.done - self._done_at_start, now - self._started
        if done <= 0 or elapsed_s <= 0:
            return ""
        left_s = int(elapsed_s / done * (progress.total - progress.done))
        remaining = f", {left_s // 60}:{left_s % 60:02d} left" if progress.done < progress.total else ""
        return f", {done / elapsed_s:,.0f} images/s{remaining}"


def _where(progress: TrainingProgress) -> str:
    """Stage and epoch, then its numbers, or the images so far."""
    if not progress.epochs:
        return f"{progress.stage}: {progress.done:,} of {progress.total:,} images"
    text = f"{progress.stage}, epoch {progress.epoch} of {progress.epochs}"
    result = progress.result
    if result is None:
        an_epoch = progress.total // progress.epochs
        return f"{text}: {progress.done - (progress.epoch - 1) * an_epoch:,} of {an_epoch:,} images"
    return (
        f"{text}: loss {result.loss:.4f}, accuracy {result.accuracy:.4f}, "
        f"val_loss {result.val_loss:.4f}, val_accuracy {result.val_accuracy:.4f}"
    )
