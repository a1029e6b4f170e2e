"""Damaged rankings, trainings and side files of studies: one sentence, or a result, through commands and callbacks.

`python -m tests.benchmarks.damage --doors 6,7,8,9` tries all damages, and the pages.
"""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import core
from core.analysis.ranking import ranking
from core.cli import main
from core.training import fine_tuning
from tests.damage import (
    Damage,
    damaged_copy,
    fine_tuning_damages,
    ranking_damages,
    set_json,
    side_file_damages,
    training_damages,
    training_writer,
    write_blocks,
    write_small_fine_tuning,
    write_small_ranking,
    write_small_study,
    write_small_training,
)


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """The commands take over SIGTERM, as processes of their own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def run(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Status and stderr of a command that must not be a defect, whatever it was given."""
    status = main(command)
    err = capsys.readouterr().err
    assert status in (0, 1), err
    assert "defect of the program" not in err, err
    assert status == 0 or err.splitlines()[-1].startswith("error: "), err
    return status, err


def some(damages: Iterator[Damage], every: int) -> pytest.MarkDecorator:
    """A parameter with each of so many damages."""
    chosen = list(damages)[::every]
    return pytest.mark.parametrize("damage", chosen, ids=[damage.name for damage in chosen])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blocks(write_small_study(tmp_path_factory.mktemp("small") / "study"))


@some(side_file_damages(), 25)
def test_what_is_kept_beside_the_tables(small: Path, tmp_path: Path, damage: Damage, capsys):
    """Such a file is no part of the study: what cannot be read is measured again, and nothing is refused for it."""
    study = str(damaged_copy(small, damage, tmp_path / "damaged"))
    assert run(["blocks", study], capsys)[0] == 0
    assert run(["report", study, "--markdown", "-"], capsys)[0] == 0


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A ranking, and its command without the folder."""
    root = tmp_path_factory.mktemp("ranked")
    command = write_small_ranking(root / "ranking", root / "files")
    at = command.index("--out")
    return root / "ranking", command[:at] + command[at + 2 :]


@some(ranking_damages(), 30)
def test_damaged_rankings(ranked: tuple[Path, list[str]], tmp_path: Path, damage: Damage, capsys):
    base, command = ranked
    folder = damaged_copy(base, damage, tmp_path / "damaged")
    status, err = run([*command, "--out", str(folder)], capsys)
    assert status == 0 or str(folder) in err


@pytest.mark.parametrize(("field", "value"), [("asked", "7"), ("used", "[]"), ("asked", '{"layers": {}}')])
def test_a_ranking_that_does_not_say_what_it_is_of(ranked, tmp_path: Path, capsys, field: str, value: str):
    base, command = ranked
    folder = shutil.copytree(base, tmp_path / "ranking")
    (folder / "ranking.json").write_text(f'{{"format": 2, "state": "partial", "{field}": {value}}}')
    status, err = run([*command, "--out", str(folder)], capsys)
    assert status == 1
    assert "ranking.json" in err or "holds another ranking" in err


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"measure": "a"}, "'compared.measure' must be one of cross, separation; got 'a'"),
        ({"num_comparisons": ...}, "it lacks compared.num_comparisons"),
        ({"split": "other"}, "'samples' must count the split 'other'"),
    ],
)
def test_a_complete_ranking_says_how_networks_were_compared(ranked, tmp_path: Path, capsys, field: dict, words: str):
    base, command = ranked
    folder = shutil.copytree(base, tmp_path / "ranking")
    info = json.loads((folder / "ranking.json").read_text())
    compared = info["compared"] | field
    info["compared"] = {name: value for name, value in compared.items() if value is not ...}
    (folder / "ranking.json").write_text(json.dumps(info))
    status, err = run([*command, "--out", str(folder)], capsys)
    assert status == 1
    assert words in err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_training(tmp_path_factory.mktemp("trained") / "training")


@some(training_damages(), 60)
def test_damaged_trainings(trained: Path, tmp_path: Path, damage: Damage, capsys):
    folder = damaged_copy(trained, damage, tmp_path / "damaged")
    run(["report", str(folder), "--markdown", "-"], capsys)
    writer = training_writer(folder)
    try:
        writer.start(2)
        writer.add_history({"epoch": 3, "separation_s": 0.1})
        writer.finish()
    except (core.StudyError, OSError):
        return
    assert (folder / "study.json").exists()


def test_a_device_in_place_of_an_epoch_s_table_is_not_copied(trained: Path, tmp_path: Path):
    """/dev/null and not /dev/zero, so that a copy, were it made, would end."""
    folder = shutil.copytree(trained, tmp_path / "training")
    before = (folder / "samples.parquet").read_bytes()
    table = folder / "epochs" / "00002" / "samples.parquet"
    table.unlink()
    table.symlink_to("/dev/null")
    with pytest.raises(core.StudyError, match=r"samples\.parquet .* Delete .*00002, and train again from an earlier"):
        training_writer(folder).start(2)
    assert (folder / "samples.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda epoch: (epoch / "study.json").unlink(), "it is missing"),
        (lambda epoch: (shutil.rmtree(epoch), epoch.write_text("no folder")), "it is missing"),
        (lambda epoch: (epoch / "study.json").write_text('{"format": 2, "state": "complete"}'), "it is another one"),
    ],
)
def test_an_epoch_without_its_description_is_named(trained: Path, tmp_path: Path, damage, words: str):
    folder = shutil.copytree(trained, tmp_path / "training")
    damage(folder / "epochs" / "00002")
    with pytest.raises(core.StudyError, match=f"must hold the study.json of an epoch; {words}. Delete .*00002"):
        training_writer(folder).start(2)


def test_a_training_that_does_not_say_what_it_is_of(trained: Path, tmp_path: Path):
    folder = shutil.copytree(trained, tmp_path / "training")
    set_json("study.json", "asked", "all")(folder)
    with pytest.raises(
        core.StudyError, match=r"study\.json in .* cannot be used: 'asked' must be an object; got 'all'"
    ):
        training_writer(folder).start(2)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[str]]]:
    """A fine-tuning that is complete, and one that was interrupted; the command of each without the folder."""
    pytest.importorskip("keras")
    root = tmp_path_factory.mktemp("tuned")
    made = {}
    for name, stop_after in {"complete": None, "begun": 2}.items():
        command = write_small_fine_tuning(root / name, root / "network", stop_after=stop_after)
        made[name] = (root / name, command[: command.index("--out")])
    return made


@pytest.mark.slow
@pytest.mark.parametrize("state", ["complete", "begun"])
@some(fine_tuning_damages(), 25)
def test_damaged_fine_tunings(tuned: dict, tmp_path: Path, damage: Damage, state: str, capsys):
    base, command = tuned[state]
    folder = damaged_copy(base, damage, tmp_path / "damaged")
    status, err = run([*command, "--out", str(folder)], capsys)
    assert status == 0 or str(folder) in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("checkpoint.npz", "checkpoint.npz cannot be read: .* Delete it to train from the first epoch"),
        ("cache/cut/test/0.npy", "cut/test cannot be read: .* Delete .*cut, and run the same command again"),
    ],
)
def test_a_checkpoint_or_cache_that_is_cut_off(tuned: dict, tmp_path: Path, file: str, words: str, capsys):
    """What the remedy says works."""
    base, command = tuned["begun"]
    folder = shutil.copytree(base, tmp_path / "out")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    status, err = run([*command, "--out", str(folder)], capsys)
    assert status == 1
    assert re.search(words, err), err
    (folder / file).unlink() if file.endswith(".npz") else shutil.rmtree(folder / "cache" / "cut")
    assert run([*command, "--out", str(folder)], capsys)[0] == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_pipe_in_the_place_of_cached_activations_is_not_waited_for(tuned: dict, tmp_path: Path, capsys):
    base, command = tuned["begun"]
    folder = shutil.copytree(base, tmp_path / "out")
    (folder / "cache/cut/test/0.npy").unlink()
    os.mkfifo(folder / "cache/cut/test/0.npy")
    status, err = run([*command, "--out", str(folder)], capsys)
    assert status == 1
    assert re.search(
        "cut/test cannot be read: .*0.npy must be a regular file; got a named pipe. Delete .*cut, and run the same", err
    ), err


@pytest.mark.slow
def test_a_checkpoint_of_other_weights_is_named(tuned: dict, tmp_path: Path, capsys):
    """As where a changed byte of an archive's list gives an array the name of another one."""
    base, command = tuned["begun"]
    folder = shutil.copytree(base, tmp_path / "out")
    with np.load(folder / "checkpoint.npz") as file:
        arrays = dict(file)
    first, *_, last = [name for name in arrays if name.startswith("variables_")]
    arrays[first], arrays[last] = arrays[last], arrays[first]
    np.savez(folder / "checkpoint.npz", **arrays)
    status, err = run([*command, "--out", str(folder)], capsys)
    assert status == 1
    assert "checkpoint.npz does not fit the network" in err
    assert "Delete it to train from the first epoch" in err


# Nothing is lost in silence


def gone_at(call: int, folder: Path, function: Callable, remove: Callable[[Path], object]) -> Callable:
    """A function before whose call of this number others take something from a folder."""
    calls = iter(range(1, 1_000))

    def wrapped(*arguments, **options):
        if next(calls) == call:
            remove(folder)
        return function(*arguments, **options)

    return wrapped


@pytest.mark.parametrize(
    ("remove", "words"),
    [
        (shutil.rmtree, "it has lost ranking.json"),  # for the study that is about to be written makes a new one
        (lambda folder: (folder / "ranking.json").unlink(), "it has lost ranking.json"),
        (lambda folder: shutil.rmtree(folder / "good"), "it has lost good/study.json"),
    ],
    ids=["all", "ranking.json", "a study"],
)
def test_what_is_removed_from_a_ranking_s_folder_during_the_run(ranked, tmp_path, monkeypatch, remove, words, capsys):
    _, command = ranked
    out = tmp_path / "out"
    writes = gone_at(2, out, ranking.write_ranked_features, remove)
    monkeypatch.setattr("core.analysis.ranking.ranking.write_ranked_features", writes)
    status, err = run([*command, "--out", str(out)], capsys)
    assert status == 1
    assert f"{out} must stay as it is while a run writes to it; {words}. Run the same command again." in err
    monkeypatch.undo()
    shutil.rmtree(out, ignore_errors=True)
    assert run([*command, "--out", str(out)], capsys)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("remove", "words"),
    [
        (shutil.rmtree, "it has been removed"),
        (lambda folder: (folder / "training.json").unlink(), "it has lost training.json"),
        (lambda folder: (folder / "head.keras").unlink(), "it has lost head.keras"),
    ],
    ids=["all", "training.json", "head.keras"],
)
def test_what_is_removed_from_a_training_s_folder(tuned, tmp_path, monkeypatch, remove, words, capsys):
    """Before the last epoch, which is the only one of the second phase."""
    _, command = tuned["complete"]
    out = tmp_path / "out"
    train = fine_tuning.train

    def watched(*arguments, report, **options):
        def told(progress):
            there = (out / "training.json").exists() and (out / "head.keras").exists()
            if progress.stage == "tail" and progress.result is None and there:
                remove(out)
            report(progress)

        return train(*arguments, report=told, **options)

    monkeypatch.setattr("core.training.fine_tuning.train", watched)
    status, err = run([*command, "--out", str(out)], capsys)
    assert status == 1
    assert f"{out} must stay as it is while a training writes to it; {words}. Run the same command again." in err


@pytest.mark.parametrize("step", ["write", "add_history", "finish"])
def test_what_is_removed_from_a_record_while_it_is_written(trained: Path, tmp_path: Path, step: str):
    folder = shutil.copytree(trained, tmp_path / "out")
    writer = training_writer(folder)
    assert writer.start(2)
    shutil.rmtree(folder)
    steps = {
        "write": lambda: writer.write(3, []),
        "add_history": lambda: writer.add_history({"epoch": 3}),
        "finish": writer.finish,
    }
    with pytest.raises(core.StudyError, match="must stay as it is while a training writes to it; it has been removed"):
        steps[step]()


@pytest.mark.slow
def test_a_callback_whose_folder_is_removed_ends_the_training_with_an_error(tmp_path: Path):
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(30, 6, 6, 1)), np.arange(30) % 3
    layers = [keras.Input((6, 6, 1)), keras.layers.Flatten(name="flat"), keras.layers.Dense(3, name="scores")]
    model = keras.Sequential(layers)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    record = core.SeparationCallback((images, labels), out=tmp_path / "out", every=10, num_samples=30, layers="all")
    removal = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: shutil.rmtree(tmp_path / "out"))
    with pytest.raises(core.StudyError, match="it has been removed"):
        model.fit(images, labels, epochs=3, verbose=0, callbacks=[removal, record])
    assert not os.path.exists(tmp_path / "out" / "study.json")
