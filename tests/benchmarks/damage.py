"""Every door tried with damaged input: what ends in a traceback, is not caught, hangs, or passes in silence.

    python -m tests.benchmarks.damage [--minutes 10] [--part 1/1] [--doors 1,2,3]

Tries the whole corpus of `tests.damage` and `tests.damaged_uploads`, of which the tests try every so many: files of
features and labels, studies on the command line, studies on every page, links, uploads, what is kept beside a study's
tables, rankings, recorded trainings and fine-tunings. Prints each failure and a table with a row a door. `--part 2/5`
tries the second of five parts. A door that is not done when its share of the time is over says how far it came.
"""

import argparse
import contextlib
import io
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd

import core
from core.cli import main
from core.study.store.opening import StudyError
from tests.damage import (
    Damage,
    damaged_copy,
    file_bytes_damages,
    fine_tuning_damages,
    ranking_damages,
    side_file_damages,
    study_damages,
    training_damages,
    training_writer,
    write_blocks,
    write_small_fine_tuning,
    write_small_ranking,
    write_small_study,
    write_small_training,
)
from tests.damaged_uploads import outcome, uploads

PAGES = Path(core.__file__).resolve().parents[1] / "explorer" / "app_pages"
DOORS = (
    *("files of features and labels", "studies, command line", "studies, pages", "links", "uploads"),
    *("timing.json and blocks.json", "rankings", "recorded trainings", "fine-tunings"),
)
LONGEST_S = 120  # of one try; what takes longer hangs
PARAMETERS = (
    *("layer", "tolerance", "pooling", "samples", "knn", "kinds", "blocks", "layers", "span", "columns", "measure"),
    *("sampling", "table", "page", "pair", "sample", "shown", "class_name", "taken", "either", "sort", "mark", "open"),
    *("tiles", "epoch", "run"),
    *("before", "match", "source", "data", "model", "weights", "per_class", "sizes", "repeats", "neighbors", "memory"),
    *("spool", "seed", "related_measures", "metric", "cluster", "cluster_storage", "split", "test_fraction", "study"),
)
FORGED = (
    *("", "0", "-1", "99999", "1" * 30, "9" * 5000, "nan", "inf", "1e999", "²", "٣", "a\0b", "../../etc/passwd", "*"),
    *("~nobody/x", "x" * 100_000, "<script>alert(1)</script>", "[x](javascript:1)", "[[", "test", "mean", "/dev", "😀"),
)
ABOUT_STUDIES = ("layers", "compare", "classes", "samples", "sample_size", "decide", "training")


class HangError(BaseException):
    """A try took too long; no `except Exception` may swallow it."""


@dataclass
class Door:
    """What came of a door: counts of tries and of each kind of failure."""

    name: str
    whole: int = 0
    tried: int = 0
    failures: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("traceback", "uncaught", "hang", "silent"), 0)
    )

    def count(self, what: str, outcome: str) -> None:
        """outcome : a kind of failure, with what is known of it after a colon; or "" """
        self.tried += 1
        if outcome:
            self.failures[outcome.partition(":")[0]] += 1
            print(f"{self.name}: {what}: {outcome[:400]}", flush=True)


def on_command_line(command: list[str], *, must_refuse: bool) -> str:
    """What is wrong with how a command ended: as `Door.count` takes it."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), limited():
            status: object = main(command)
    except SystemExit as stopped:
        status = stopped.code
    except HangError:
        return "hang"
    except BaseException:
        return f"traceback: {traceback.format_exc()[-300:]}"
    if "defect of the program" in err.getvalue():
        return f"uncaught: {err.getvalue()[-300:]}"
    return "silent: status 0" if must_refuse and status == 0 else ""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Ends a try that takes too long."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)


def try_files(door: Door, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """Files of features and labels, bytes changed and cut off."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)).astype(np.float32), np.arange(24) % 3
    os.chdir(folder)
    np.save("x.npy", x)
    np.save("y.npy", y)
    np.savez_compressed("z.npz", layer=x, labels=y)
    np.savez("s.npz", layer=x, labels=y)
    pd.DataFrame(x, columns=list("abc")).assign(label=y).to_parquet("p.parquet")
    Path("y.txt").write_text("\n".join(f"class{label}" for label in y))
    pd.DataFrame({"breed": y, "other": y}).to_csv("y.csv", index=False)
    commands = {
        "x.npy": ["x.npy", "--labels", "y.npy"],
        "y.npy": ["x.npy", "--labels", "y.npy"],
        "z.npz": ["z.npz"],
        "s.npz": ["s.npz"],
        "p.parquet": ["p.parquet", "--labels", "label"],
        "y.txt": ["x.npy", "--labels", "y.txt"],
        "y.csv": ["x.npy", "--labels", "y.csv:breed"],
    }
    tries = []
    for file in commands:
        content = Path(file).read_bytes()
        tries += [(file, name, damaged, content) for name, damaged in file_bytes_damages(content, every=20)]
    random.Random(0).shuffle(tries)
    tries = tries[part]
    door.whole = len(tries)
    for file, name, damaged, content in tries:
        if not left():
            return
        Path(file).write_bytes(damaged)
        door.count(f"{file} {name}", on_command_line(["measure", *commands[file]], must_refuse=False))
        Path(file).write_bytes(content)


def try_studies(door: Door, base: Path, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """Studies, by every command that opens one."""
    damages = list(study_damages())
    random.Random(1).shuffle(damages)
    damages = damages[part]
    door.whole = 5 * len(damages)
    for damage in damages:
        if not left():
            return
        study = str(damaged_copy(base, damage, folder))
        for command in (
            ["report", study, "--markdown", "-"],
            ["overlap", study, "--json"],
            ["overlap", study, str(base)],
            ["blocks", study],
            ["cut", study, "--no-timing"],
        ):
            door.count(f"{command[0]} {damage.name}", on_command_line(command, must_refuse=damage.noticed))


def on_page(view: str, study: Path, query: dict[str, str], *, must_refuse: bool = False) -> str:
    """What is wrong with how a page looks."""
    from streamlit.testing.v1 import AppTest

    os.environ["SI_EXPLORER_STUDY"] = str(study)
    defects: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = defects.append  # type: ignore[method-assign]
    log = logging.getLogger("explorer.server.page_errors")
    log.addHandler(handler)
    try:
        page = AppTest.from_file(PAGES / view / "view.py", default_timeout=LONGEST_S)
        for name, value in query.items():
            page.query_params[name] = value
        page.run()
    except RuntimeError as error:
        return f"hang: {error}"
    except Exception:
        return f"uncaught: {traceback.format_exc()[-300:]}"
    finally:
        log.removeHandler(handler)
    if page.exception:
        return f"traceback: {page.exception[0].value}"
    if defects:
        error = defects[0].exc_info
        return f"uncaught: {traceback.format_exception(error[1])[-2:] if error else ''}"
    return "silent: no message" if must_refuse and not page.error else ""


def try_pages(door: Door, base: Path, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """Studies, on every page that can be opened with them; those that are refused, on one."""
    damages = list(study_damages())
    random.Random(2).shuffle(damages)
    damages = damages[part]
    door.whole = len(damages)
    for number, damage in enumerate(damages):
        if not left():
            return
        study = damaged_copy(base, damage, folder)
        try:
            core.load_study(study)
            views: tuple[str, ...] = ABOUT_STUDIES
        except core.StudyError:
            views = (ABOUT_STUDIES[number % len(ABOUT_STUDIES)],)
        for view in views:
            door.whole += view != views[0]
            door.count(f"{view} {damage.name}", on_page(view, study, {}, must_refuse=damage.noticed))


def try_links(door: Door, base: Path, left: Callable[[], bool], part: slice) -> None:
    """Addresses with forged parameters, on every page."""
    rng = random.Random(3)
    pages = (*ABOUT_STUDIES, "new_study", "method")
    tries = [(view, {name: value for name in PARAMETERS if name != "study"}) for value in FORGED for view in pages]
    tries += [(view, {"study": value}) for value in FORGED for view in ABOUT_STUDIES]
    for _ in range(100):
        tries.append((rng.choice(pages), {name: rng.choice(FORGED) for name in rng.sample(PARAMETERS, 12)}))
    rng.shuffle(tries)
    tries = tries[part]
    door.whole = len(tries)
    for view, query in tries:
        if not left():
            return
        shown = ", ".join(f"{name}={value[:20]!r}" for name, value in list(query.items())[:3])
        door.count(f"{view} {shown}", on_page(view, base, query))


def try_uploads(door: Door, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """Files as visitors upload them, saved and planned."""
    tries = list(uploads(every=40))
    random.Random(4).shuffle(tries)
    tries = tries[part]
    door.whole = len(tries)
    for upload in tries:
        if not left():
            return
        try:
            with limited():
                told = outcome(upload, folder)
        except HangError:
            told = "hang"
        door.count(f"{upload.of} {upload.damage}", told)


def try_side_files(door: Door, base: Path, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """What is kept beside a study's tables, by commands and the page that read it."""
    for damage in _shuffled(door, side_file_damages(), part, tries=4):
        if not left():
            return
        study = damaged_copy(base, damage, folder)
        for command in (["blocks", str(study)], ["cut", str(study), "--no-timing"], ["report", str(study)]):
            words = [*command, "--markdown", "-"] if command[0] == "report" else command
            door.count(f"{command[0]} {damage.name}", on_command_line(words, must_refuse=False))
        door.count(f"decide {damage.name}", on_page("decide", study, {}))


def try_rankings(door: Door, root: Path, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """Rankings, by the command that goes on with them, and the page of a study in them."""
    base = root / "ranking"
    command = write_small_ranking(base, root / "ranked")
    command[command.index("--out") + 1] = str(folder)
    for damage in _shuffled(door, ranking_damages(), part, tries=3):
        if not left():
            return
        damaged_copy(base, damage, folder)
        for name in ("good", "bad"):
            door.count(f"decide {name} {damage.name}", on_page("decide", folder / name, {}))
        door.count(f"rank {damage.name}", on_command_line(command, must_refuse=False))


def try_trainings(door: Door, root: Path, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """Recorded trainings, by their page, a command, and the callback that goes on with them."""
    base = write_small_training(root / "training")
    for damage in _shuffled(door, training_damages(), part, tries=4):
        if not left():
            return
        damaged_copy(base, damage, folder)
        for view in ("training", "layers"):
            door.count(f"{view} {damage.name}", on_page(view, folder, {}))
        words = ["report", str(folder), "--markdown", "-"]
        door.count(f"report {damage.name}", on_command_line(words, must_refuse=False))
        door.count(f"callback {damage.name}", goes_on(folder))


def goes_on(folder: Path) -> str:
    """What is wrong with how a callback goes on with a training."""
    writer = training_writer(folder)
    try:
        writer.start(2)
        writer.add_history({"epoch": 3, "separation_s": 0.1})
        writer.finish()
    except (StudyError, OSError):
        return ""
    except Exception:
        return f"uncaught: {traceback.format_exc()[-300:]}"
    return ""


def try_fine_tunings(door: Door, root: Path, folder: Path, left: Callable[[], bool], part: slice) -> None:
    """Fine-tunings, complete and begun, by the command that goes on with them."""
    for base, words in (("tuned", {}), ("begun", {"stop_after": 2})):
        command = write_small_fine_tuning(root / base, root / "network", **words)
        command[command.index("--out") + 1] = str(folder)
        for damage in _shuffled(door, fine_tuning_damages(), part):
            if not left():
                return
            damaged_copy(root / base, damage, folder)
            door.count(f"{base} {damage.name}", on_command_line(command, must_refuse=False))


def _shuffled(door: Door, damages: Iterator[Damage], part: slice, tries: int = 1) -> list[Damage]:
    """A part of some damages in random order, counted. tries : of each."""
    chosen = list(damages)
    random.Random(5).shuffle(chosen)
    door.whole += tries * len(chosen[part])
    return chosen[part]


def run(minutes: float, part: slice, chosen: set[int]) -> list[Door]:
    """The chosen doors, counted from 1, each with its share of the time."""
    doors = [Door(name) for name in DOORS]
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        base, copy = write_blocks(write_small_study(root / "base")), root / "damaged"
        os.environ["SI_EXPLORER_STUDIES"] = str(root / "runs")
        (root / "files").mkdir()
        before = os.getcwd()
        for door, attempt in zip(
            doors,
            (
                lambda left: try_files(doors[0], root / "files", left, part),
                lambda left: try_studies(doors[1], base, copy, left, part),
                lambda left: try_pages(doors[2], base, copy, left, part),
                lambda left: try_links(doors[3], base, left, part),
                lambda left: try_uploads(doors[4], root / "uploads", left, part),
                lambda left: try_side_files(doors[5], base, copy, left, part),
                lambda left: try_rankings(doors[6], root, copy, left, part),
                lambda left: try_trainings(doors[7], root, copy, left, part),
                lambda left: try_fine_tunings(doors[8], root, copy, left, part),
            ),
            strict=True,
        ):
            if doors.index(door) + 1 not in chosen:
                continue
            ends = time.monotonic() + 60 * minutes / len(chosen)
            attempt(lambda ends=ends: time.monotonic() < ends)  # type: ignore[misc]
            print(f"{door.name}: {door.tried:,} of {door.whole:,} tried", file=sys.stderr, flush=True)
        os.chdir(before)
    return [door for number, door in enumerate(doors, start=1) if number in chosen]


def print_table(doors: list[Door]) -> None:
    """A row a door."""
    kinds = list(doors[0].failures)
    print(f"\n| door | tried | {' | '.join(kinds)} |\n| --- | ---: |{' ---: |' * len(kinds)}")
    for door in doors:
        tried = f"{door.tried:,}" + (f" of {door.whole:,}" if door.tried < door.whole else "")
        print(f"| {door.name} | {tried} | {' | '.join(str(count) for count in door.failures.values())} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--part", default="1/1", metavar="K/N")
    everything = ",".join(str(number) for number in range(1, len(DOORS) + 1))
    parser.add_argument("--doors", default=everything, help="numbers: " + ", ".join(DOORS))
    asked = parser.parse_args()
    first, every = map(int, asked.part.split("/"))
    logging.disable(logging.WARNING)
    found = run(asked.minutes, slice(first - 1, None, every), set(map(int, asked.doors.split(","))))
    print_table(found)
    sys.exit(any(sum(door.failures.values()) for door in found))
