"""python -m core fine-tune: a network learns the classes of labelled images."""

import argparse
import json
import os
import sys
import time
from dataclasses import fields
from typing import Any

from core.commands.terminal.arguments import DATA_HELP, add_data_options, at_least, print_notes, seed
from core.commands.terminal.progress import StatusLine, interrupt_when_terminated
from core.network.models.registry import DEFAULT_MODEL, DEFAULT_WEIGHTS
from core.training.augmentation import Augmentation
from core.training.fine_tuning import FineTuned, FineTuneOptions, fine_tune
from core.training.options import TrainingOptions
from core.training.phases import TrainingProgress


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("fine-tune", help="train a new head for a network, then its tail")
    parser.set_defaults(run=run, interrupted="The same command goes on from the last whole epoch.")
    add, default = parser.add_argument, FineTuneOptions("")
    add("data", metavar="DATA", help=DATA_HELP)
    add("--out", required=True, metavar="DIR", help="the folder for the results; a training begun there goes on")
    add("--model", help=f"a network, or a .keras or .h5 file (default: {DEFAULT_MODEL}, or what --weights holds)")
    add("--weights", help=f"imagenet, none, or a .keras or .h5 file of the network (default: {DEFAULT_WEIGHTS})")
    add("--per-class", type=at_least(2), metavar="K", help="images of each class and split (default: all)")
    add_data_options(parser)
    _add_recipe(parser, default.training)
    _add_augmentation(parser, default.training.augmentation)
    add(
        "--cache",
        action=argparse.BooleanOptionalAction,
        help="compute the frozen layers once and train on what they gave (default: without a GPU)",
    )
    add(
        "--variants",
        type=at_least(0),
        default=default.variants,
        metavar="K",
        help="changed copies of each training image in the cache; 0: the images themselves (default: %(default)s)",
    )
    add("--mixed-precision", action=argparse.BooleanOptionalAction, help="products in float16 (default: on a GPU)")
    add("--separation", metavar="DIR", help="record SI meanwhile, in a study that the page Training plays")
    add("--json", action="store_true", help="results for machines")


def _add_recipe(parser: argparse.ArgumentParser, default: TrainingOptions) -> None:
    whole, real = {"metavar": "N"}, {"type": float, "metavar": "X"}
    for name, options, text in (
        ("head-epochs", whole | {"type": at_least(1)}, "epochs of the new head alone"),
        ("tail-epochs", whole | {"type": at_least(0)}, "epochs of the unfrozen tail with it; 0: none"),
        ("head-rate", real, "Adam's rate in the first phase"),
        ("tail-rate", real, "Adam's rate in the second phase"),
        ("batch-size", whole | {"type": at_least(1)}, "images a step"),
        ("unfreeze", {"metavar": "PATTERN"}, "the tail begins with the first layer that matches"),
        ("dropout", real, "share of pooled activations dropped before the last layer"),
        ("seed", whole | {"type": seed}, "of everything random"),
    ):
        _add_option(parser, name, default, options, text)
    parser.add_argument(
        "--early-stopping",
        type=at_least(1),
        metavar="N",
        help="end a phase when val_loss has not fallen for N epochs, and keep its best epoch",
    )


def _add_augmentation(parser: argparse.ArgumentParser, default: Augmentation) -> None:
    for name, text in (
        ("rotation", "at most this share of a full turn either way"),
        ("translation", "at most this share of height and width"),
        ("contrast", "at most this share more or less"),
    ):
        _add_option(parser, name, default, {"type": float, "metavar": "X"}, text)
    parser.add_argument("--no-flip", dest="flip", action="store_false", help="do not mirror images")


def _add_option(parser: argparse.ArgumentParser, name: str, default: Any, options: dict[str, Any], text: str) -> None:
    value = getattr(default, name.replace("-", "_"))
    parser.add_argument(f"--{name}", default=value, help=f"{text} (default: %(default)s)", **options)


def run(options: argparse.Namespace) -> int:
    interrupt_when_terminated()
    report = TrainingLine(sys.stderr)
    try:
        tuned = fine_tune(_asked(options), options.out, separation=options.separation, progress=report)
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
    own = {one.name: given[one.name] for one in fields(FineTuneOptions) if one.name != "training"}
    return FineTuneOptions(training=training, **own)


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
        left = f", {left_s // 60}:{left_s % 60:02d} left" if progress.done < progress.total else ""
        return f", {done / elapsed_s:,.0f} images/s{left}"


def _where(progress: TrainingProgress) -> str:
    """Stage and epoch, then its numbers, or the images so far."""
    if not progress.epochs:
        return f"{progress.stage}: {progress.done:,} of {progress.total:,} images"
    place = f"{progress.stage}, epoch {progress.epoch} of {progress.epochs}"
    result = progress.result
    if result is None:
        an_epoch = progress.total // progress.epochs
        return f"{place}: {progress.done - (progress.epoch - 1) * an_epoch:,} of {an_epoch:,} images"
    return (
        f"{place}: loss {result.loss:.4f}, accuracy {result.accuracy:.4f}, "
        f"val_loss {result.val_loss:.4f}, val_accuracy {result.val_accuracy:.4f}"
    )
