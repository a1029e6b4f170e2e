"""The command line: `python -m core study|layers|devices|fine-tune`. Progress on stderr, results on stdout."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from core import __version__
from core.commands import fine_tune
from core.network.activations import Pass
from core.study.costs import FORWARD_SHARE, Cost, pass_cost, product_rate
from core.study.plan import (
    DEFAULT_LAYERS,
    NOTEBOOK,
    PIXELS,
    POOLINGS,
    PROTOCOLS,
    Plan,
    Progress,
    StudyOptions,
    parse_bytes,
    plan_study,
)
from core.study.results import Study
from core.study.run import run_study

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status: 0, 1 for failure, 2 for wrong usage, 130 for an interrupt."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its start-up notices are not about the study
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        print("\nInterrupted. The layers done so far are kept; the same command goes on from there.", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_study(commands.add_parser("study", help="measure how each layer of a network separates labelled images"))
    _add_layers(commands.add_parser("layers", help="list the layers of a network"))
    _add_devices(commands.add_parser("devices", help="say which devices multiply"))
    fine_tune.add_parser(commands)
    return parser


def _add_study(parser: argparse.ArgumentParser) -> None:
    default = {field.name: field.default for field in fields(StudyOptions)}
    add = parser.add_argument
    add("data", metavar="DATA", help="an image folder (train/CLASS/..., test/CLASS/..., or CLASS/...), or: digits")
    add("--out", required=True, metavar="DIR", help="the study's folder; a study begun there goes on")
    add("--model", default=default["model"], help="a network, or: pixels (default: %(default)s)")
    add("--weights", default=default["weights"], help="imagenet, none, or a .keras file (default: %(default)s)")
    add("--layers", default=DEFAULT_LAYERS, help="union of main, all, names and patterns (default: %(default)s)")
    add("--pooling", default=default["pooling"], choices=tuple(POOLINGS), help="default: %(default)s")
    add("--split", default=default["split"], choices=("train", "test", "both"), help="default: %(default)s")
    add("--per-class", type=_at_least(2), metavar="K", help="samples of each class and split (default: all)")
    add(
        "--neighbors",
        type=_at_least(1),
        default=default["neighbors"],
        metavar="K",
        help="stored a sample (default: %(default)s)",
    )
    add("--sizes", type=_sizes, default=(), metavar="N,N,...", help="SI over subsamples of these sizes, of each split")
    add(
        "--repeats", type=int, default=default["repeats"], metavar="R", help="draws of each size (default: %(default)s)"
    )
    add("--protocol", default=default["protocol"], choices=PROTOCOLS, help="notebook: also the class-center measures")
    add("--precision", type=float, metavar="E", help="ask only as many samples as it takes to know SI to ± E, at 95 %%")
    add("--pilot", type=int, default=0, metavar="M", help="samples of each split asked first, to ask fewer after")
    add("--no-probe", dest="probe", action="store_false", help="leave out the linear probe")
    add("--memory", type=_memory, metavar="SIZE", help="for the activations of a pass (default: half of what is free)")
    add("--spool", metavar="DIR", help="keep layers that do not fit the memory in files here, not in slices")
    add("--seed", type=int, default=default["seed"], help="of splits and choices (default: %(default)s)")
    add("--skip-broken", action="store_true", help="leave unreadable images out and record them")
    add(
        "--batch-size",
        type=_at_least(1),
        default=default["batch_size"],
        metavar="N",
        help="images a forward pass (default: %(default)s)",
    )
    add("--dry-run", action="store_true", help="say what would be computed, and stop")
    add("--json", action="store_true", help="results for machines")
    parser.set_defaults(run=_study)


def _add_layers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a network's name or a .keras file")
    parser.add_argument("--layers", default="all", help="union of main, all, names and patterns (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=_layers)


def _add_devices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=_devices)


def _memory(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _at_least(minimum: int) -> Callable[[str], int]:
    """A parser of whole numbers from `minimum`."""

    def parse(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {minimum}; got {text!r}.")
        return int(text)

    return parse


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"sizes must be whole numbers such as 50,100,200; got {text!r}") from error


def _asked(options: argparse.Namespace) -> StudyOptions:
    """The study asked for; the notebook's protocol brings its own choices where none was made."""
    asked = StudyOptions(**{field.name: getattr(options, field.name) for field in fields(StudyOptions)})
    if asked.protocol != "notebook":
        return asked
    left = {field.name for field in fields(StudyOptions) if getattr(asked, field.name) == field.default}
    left -= {"layers"} if asked.model == PIXELS else set()
    return replace(asked, **{name: value for name, value in NOTEBOOK.items() if name in left})


def _study(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _interrupt)  # a stopped run leaves a valid study, as Ctrl-C does
    asked = _asked(options)
    report = ProgressLine(sys.stderr)
    try:
        plan = plan_study(asked, memory=options.memory, spool=options.spool, progress=report)
        if options.dry_run:
            report.close()
            _print_plan(plan, as_json=options.json)
            return 0
        study = run_study(plan, options.out, progress=report)
    finally:
        report.close()
    _print_study(study, as_json=options.json)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class ProgressLine:
    """Shows progress on a stream: one line rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO, interval_s: float = 10.0) -> None:
        self._stream, self._live = stream, stream.isatty()
        self._interval_s = 0.1 if self._live else interval_s
        self._stage, self._started, self._done_at_start, self._shown = "", 0.0, 0, -1e9
        self._open = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        group = progress.stage.split(" in ")[0] if progress.unit == "layers" else progress.stage
        if group != self._stage:
            self.close()
            self._stage, self._started, self._done_at_start, self._shown = group, now, progress.done, -1e9
        if now - self._shown < self._interval_s and progress.done < progress.total:
            return
        self._shown = now
        text = (
            f"{progress.stage}: {progress.done:,} of {progress.total:,} {progress.unit}{self._time_left(progress, now)}"
        )
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._stream.flush()
        self._open = self._live

    def close(self) -> None:
        """End the line that is being rewritten."""
        if self._open:
            self._stream.write("\n")
            self._open = False

    def _time_left(self, progress: Progress, now: float) -> str:
        done = progress.done - self._done_at_start
        if done <= 0 or progress.done >= progress.total:
            return ""
        left_s = (now - self._started) / done * (progress.total - progress.done)
        return f", {int(left_s) // 60}:{int(left_s) % 60:02d} left"


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    passes = plan.passes()
    costs = [pass_cost(plan, part) for part in passes]
    rate = product_rate()
    summary = {
        "samples": len(plan.samples),
        "splits": {split: len(plan.samples.rows(split)) for split in plan.samples.split_names},
        "classes": len(plan.samples.class_names),
        "layers": [layer.layer for layer in plan.layers],
        "poolings": list(plan.poolings),
        "passes": [_pass_row(part, cost) for part, cost in zip(passes, costs, strict=True)],
        "budget_bytes": plan.budget_bytes,
        "estimated_s": sum(cost.seconds(rate) for cost in costs),
    }
    if as_json:
        print(json.dumps(summary, indent=1))
        return
    splits = ", ".join(f"{count:,} {split}" for split, count in summary["splits"].items())  # type: ignore[attr-defined]
    print(f"{len(plan.samples):,} samples ({splits}) of {len(plan.samples.class_names)} classes")
    print(f"{len(plan.layers)} layers, {' and '.join(plan.poolings)}, in {len(passes)} passes over the images:")
    for number, (part, cost) in enumerate(zip(passes, costs, strict=True), start=1):
        print(f"  pass {number}: {_pass_line(part, cost)}")
    print(f"memory for the activations of a pass: {plan.budget_bytes / 2**20:,.0f} MiB")
    print(
        f"expected time: about {_in_minutes(sum(cost.seconds(rate) for cost in costs))}. An estimate: products at the "
        f"{rate / 1e9:,.0f} GFLOP/s measured now, the network at {FORWARD_SHARE:.0%} of it; baselines not included."
    )


def _pass_row(part: Pass, cost: Cost) -> dict[str, float]:
    return {
        "layers": len(part.layers),
        "bytes": part.num_bytes,
        "spooled_bytes": part.spooled_bytes,
        "slices": len(part.slices),
        "runs": part.num_runs,
        "forward_flop": cost.forward_flop,
        "search_flop": cost.search_flop,
    }


def _pass_line(part: Pass, cost: Cost) -> str:
    names = f"{part.layers[0].layer} … {part.layers[-1].layer}" if len(part.layers) > 1 else part.layers[0].layer
    how = f" in {len(part.slices)} slices, {part.num_runs} runs" if part.slices else ""
    how = f" in a file of {part.spooled_bytes / 2**20:,.0f} MiB" if part.spooled_bytes else how
    flop = f"{cost.forward_flop / 1e9:9,.0f} + {cost.search_flop / 1e9:,.0f} GFLOP"
    return f"{len(part.layers):3} layers, {part.num_bytes / 2**20:9,.0f} MiB, {flop}  {names}{how}"


def _in_minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _print_study(study: Study, *, as_json: bool) -> None:
    """The SI of every layer, one row a layer and pooling, one column a comparison."""
    table = study.measurements
    table = table[table["measure"].isin(["separation", "cross"]) & (table["repeat"] == 0)].copy()
    table["column"] = table["split"].astype(str).where(table["measure"] == "separation", "test to train")
    if as_json:
        columns = ["layer", "pooling", "split", "measure", "value", "low", "high", "chance", "p_value", "q_value"]
        rows = json.loads(table[columns].to_json(orient="records"))
        print(json.dumps({"path": os.fspath(study.path), "state": study.state, "measurements": rows}, indent=1))
        return
    wide = table.pivot_table(index=["layer", "pooling"], columns="column", values="value", observed=True, sort=False)
    print(wide.to_string(float_format=lambda value: f"{value:.4f}"))
    chance = ", ".join(f"{name} {value:.4f}" for name, value in table.groupby("column")["chance"].first().items())
    print(f"chance level: {chance}")
    for caution in study.info.get("cautions", []):
        print(f"note: {caution}")
    print(f"written to {Path(study.path)}")


def _layers(options: argparse.Namespace) -> int:
    from core.network.backbones import load_network
    from core.network.layers import catalogue, select_layers

    if options.model.endswith(".keras"):
        network = load_network("efficientnet-b0", options.model)  # whose image size a file gets that leaves it open
    else:
        network = load_network(options.model, "none")
    layers = select_layers(catalogue(network.model), options.layers)
    if options.json:
        print(json.dumps([_as_row(layer) for layer in layers], indent=1))
        return 0
    print(f"{'position':>8}  {'layer':28} {'kind':24} {'output':>16} {'parameters':>12} {'main':>5}")
    for layer in layers:
        shape = " × ".join(map(str, layer.output_shape))
        main_mark = "main" if layer.is_main else ""
        print(f"{layer.position:8}  {layer.layer:28} {layer.kind:24} {shape:>16} {layer.parameters:12,} {main_mark:>5}")
    return 0


def _as_row(layer: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(layer) | {"main": layer.is_main}


def _devices(options: argparse.Namespace) -> int:
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
