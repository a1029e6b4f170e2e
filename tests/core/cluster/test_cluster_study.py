"""A study on real worker processes: the tables of a plain run, whatever happens to a worker or to the scheduler."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import core
from core.cluster import cluster_study
from core.cluster.connecting import Cluster, ClusterError
from core.cluster.engine import DaskEngine
from core.study.plan import Progress, StudyOptions
from core.study.run import run_study
from core.study.store.opening import LAYER_TABLES, finished_layers, load_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


@pytest.fixture(scope="module")
def options(images: Path, network_file: str) -> StudyOptions:
    return StudyOptions(
        str(images), None, network_file, "all", pooling="both", neighbors=4, batch_size=4, related_measures=True
    )


@pytest.fixture(scope="module")
def plain(options: StudyOptions, tmp_path_factory: pytest.TempPathFactory) -> core.Study:
    return run_study(options, tmp_path_factory.mktemp("plain") / "study")


def assert_same_tables(study: core.Study, plain: core.Study) -> None:
    """Column by column, and byte by byte."""
    for name in LAYER_TABLES:
        pd.testing.assert_frame_equal(study.table(name), plain.table(name), check_exact=True)
    for file in plain.path.glob("*.parquet"):
        assert (study.path / file.name).read_bytes() == file.read_bytes(), file.name


def at(stage: str, done: int, act: Callable[[], None]) -> Callable[[Progress], None]:
    """A report that acts once, as soon as a stage has come so far."""
    acts = [act]

    def report(progress: Progress) -> None:
        if stage in progress.stage and progress.done >= done and acts:
            acts.pop()()

    return report


def test_tables_are_those_of_a_plain_run(cluster: Cluster, options: StudyOptions, plain: core.Study, tmp_path: Path):
    seen: list[Progress] = []
    study = run_study(options, tmp_path / "study", engine=DaskEngine(cluster.client), progress=seen.append)
    assert_same_tables(study, plain)
    assert [file.name for file in tmp_path.iterdir()] == ["study"]  # activations are gone
    assert {report.unit for report in seen if report.stage == "activations"} == {"images"}
    assert seen[-1].done == seen[-1].total


def test_they_are_where_tensorflow_was_loaded_before_with_kernels_that_depend_on_threads(
    options: StudyOptions, plain: core.Study, tmp_path: Path
):
    """A script that imports TensorFlow first, on a processor where it does without oneDNN by itself."""
    asked = {name: getattr(options, name) for name in ("data", "model", "weights", "layers", "pooling", "batch_size")}
    code = f"""if __name__ == "__main__":
        import os
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
        import tensorflow
        del os.environ["TF_ENABLE_ONEDNN_OPTS"]
        import core
        options = core.StudyOptions(**{asked!r})
        core.run_study(options, "plain")
        core.run_study(options, "cluster", engine=core.DaskEngine("local:2:1GiB"))
    """
    script = tmp_path / "script.py"
    script.write_text(code)
    variables = os.environ | {"PYTHONPATH": str(Path(core.__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    variables.pop("TF_ENABLE_ONEDNN_OPTS", None)
    run = subprocess.run([sys.executable, script], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    studies = [load_study(tmp_path / name) for name in ("plain", "cluster")]
    assert_same_tables(studies[1], studies[0])
    for study in studies:
        kernels = study.info["used"]["kernels"]
        assert kernels["onednn"] is False
        assert kernels["threads"] == plain.info["used"]["kernels"]["threads"]


def test_sizes_centers_and_sampled_queries(cluster: Cluster, options: StudyOptions, tmp_path: Path):
    for name, asked in {
        "sizes": replace(options, sizes=(8, 12, 16), repeats=2, protocol="notebook", layers="top_conv"),
        "pilot": replace(options, precision=0.2, pilot=4),
    }.items():
        study = run_study(asked, tmp_path / name, engine=DaskEngine(cluster.client))
        assert_same_tables(study, run_study(asked, tmp_path / f"{name} plain"))


def test_layers_that_cannot_be_measured(cluster: Cluster, images: Path, tmp_path: Path):
    """One that is the same for all samples and one that overflows; a nested model, too, whose names have a slash."""
    import keras

    constant, image, inner = keras.initializers.Constant, keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    sound = keras.layers.Conv2D(2, 3, name="sound")(inner)
    dead = keras.layers.Conv2D(2, 1, name="dead", kernel_initializer="zeros")(sound)
    added = keras.layers.Add(name="added")([sound, dead])
    overflow = keras.layers.Conv2D(2, 1, name="overflow", kernel_initializer=constant(3e38))(added)
    body = keras.Model(inner, overflow, name="body")
    keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pool")(body(image))).save(tmp_path / "broken.keras")
    options = StudyOptions(str(images), None, str(tmp_path / "broken.keras"), pooling="both", neighbors=2)
    study = run_study(options, tmp_path / "study", engine=DaskEngine(cluster.client))
    assert_same_tables(study, plain := run_study(options, tmp_path / "plain"))
    assert study.info["cautions"] == plain.info["cautions"]
    notes = study.layers.set_index("layer")["note"].fillna("")
    assert notes[["body/sound", "body/dead", "body/added"]].tolist() == ["", "the same for all samples", ""]
    assert notes["body/overflow"].startswith("not finite")


def test_stages_where_the_storage_is_small(
    cluster: Cluster, options: StudyOptions, plain: core.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    widest = 4 * 108 * (16 * 16 * 4 + 4)  # bytes of one of the three widest layers of all images, flat and mean
    monkeypatch.setattr(cluster_study, "free_bytes", lambda address: widest)
    seen: list[Progress] = []
    study = run_study(options, tmp_path / "study", engine=DaskEngine(cluster.client), progress=seen.append)
    assert_same_tables(study, plain)
    assert any(report.stage.startswith("stage 2 of ") for report in seen)
    monkeypatch.setattr(cluster_study, "free_bytes", lambda address: widest - 1)
    with pytest.raises(
        ValueError, match=r"storage must have 444,096 bytes to spare .* of stem_conv.*--cluster-storage"
    ):
        run_study(options, tmp_path / "none", engine=DaskEngine(cluster.client))


def test_studies_of_one_name_share_a_storage_and_no_activations(
    cluster: Cluster, options: StudyOptions, tmp_path: Path
):
    shared, asked = tmp_path / "shared", replace(options, layers="top_conv")
    seen: list[set[str]] = []
    for user in ("one", "two"):
        kept: set[str] = set()
        report = at("neighbors", 0, lambda kept=kept: kept.update(os.listdir(shared)))
        run_study(asked, tmp_path / user / "study", engine=DaskEngine(cluster.client, str(shared)), progress=report)
        seen.append(kept)
        assert not os.listdir(shared)
    assert len(seen[0]) == len(seen[1]) == 1
    assert seen[0] != seen[1]


def test_few_tasks_at_once(
    cluster: Cluster, options: StudyOptions, plain: core.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cluster_study, "MAX_TASKS", 1)
    monkeypatch.setattr(cluster_study, "MANY_TASKS", 1)
    seen: list[Progress] = []
    assert_same_tables(
        run_study(options, tmp_path / "study", engine=DaskEngine(cluster.client), progress=seen.append), plain
    )
    assert {report.unit for report in seen} == {"images", "layers", "tasks"}


def test_pixels_from_the_command_line(tmp_path: Path):
    out = tmp_path / "study"
    words = ["study", "digits", "--model", "pixels", "--out", str(out), "--cluster", "local:1", "--projection", "none"]
    run = subprocess.run([sys.executable, "-m", "core", *words], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert_same_tables(
        load_study(out), run_study(StudyOptions("digits", "pixels", projection="none"), tmp_path / "plain")
    )


def test_a_worker_killed_during_extraction_changes_nothing(
    cluster: Cluster, options: StudyOptions, plain: core.Study, tmp_path: Path
):
    pids = cluster.client.run(os.getpid)
    victim = next(iter(pids.values()))
    report = at("activations", 1, lambda: os.kill(victim, signal.SIGKILL))
    study = run_study(options, tmp_path / "study", engine=DaskEngine(cluster.client), progress=report)
    assert_same_tables(study, plain)
    assert victim not in cluster.client.run(os.getpid).values()


@pytest.mark.parametrize(("stage", "done", "num_layers"), [("activations", 1, 0), ("neighbors", 3, 3)])
def test_what_ctrl_c_leaves_goes_on_on_one_machine(
    cluster: Cluster,
    options: StudyOptions,
    plain: core.Study,
    tmp_path: Path,
    stage: str,
    done: int,
    num_layers: int,
):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(options, tmp_path / "study", engine=DaskEngine(cluster.client), progress=at(stage, done, stop))
    assert len(finished_layers(tmp_path / "study")) == num_layers
    deadline = time.monotonic() + 20
    while any(cluster.client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(cluster.client.processing().values())  # no task is left behind
    assert [file.name for file in tmp_path.iterdir()] == ["study"]  # and no activations
    assert_same_tables(run_study(options, tmp_path / "study"), plain)


@pytest.fixture
def scheduler() -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A scheduler and a worker that were started by hand: the address, and both processes."""
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    started = [subprocess.Popen([*start, "--no-dashboard"], stderr=subprocess.PIPE, text=True)]
    assert started[0].stderr is not None
    address = next(line.split()[-1] for line in started[0].stderr if "Scheduler at:" in line)
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    started.append(subprocess.Popen([*worker, "--memory-limit", "3GiB"], stderr=subprocess.DEVNULL, text=True))
    yield address, started
    for process in started:
        process.terminate()
    for process in started:
        process.communicate(timeout=20)


def test_a_scheduler_that_goes_away_ends_the_run_and_the_same_call_goes_on(
    scheduler: tuple[str, list[subprocess.Popen[str]]],
    cluster: Cluster,
    options: StudyOptions,
    plain: core.Study,
    tmp_path: Path,
):
    address, processes = scheduler
    report = at("neighbors", 2, processes[0].kill)
    with pytest.raises(ClusterError, match=r"scheduler at tcp.* is gone.*finished layers are kept") as failure:
        run_study(options, tmp_path / "study", engine=DaskEngine(address), progress=report)
    assert address in str(failure.value)
    partial = load_study(tmp_path / "study")
    assert partial.state == "partial"
    assert len(partial.layers) >= 2
    assert_same_tables(run_study(options, tmp_path / "study", engine=DaskEngine(cluster.client)), plain)


@pytest.mark.parametrize("room", [{"memory": 1 << 30}, {"spool": "scratch"}])
def test_room_for_one_process_is_refused_rather_than_ignored(room: dict, tmp_path: Path):
    with pytest.raises(ValueError, match=r"memory and spool must be left out.*--cluster-storage"):
        run_study(StudyOptions("digits", "pixels"), tmp_path / "study", engine=DaskEngine("local:1"), **room)
    words = [f"--{name}={value}" for name, value in room.items()]
    command = [sys.executable, "-m", "core", "study", "digits", "--model=pixels", "--cluster=local:1"]
    words += [f"--out={tmp_path / 'study'}", "--dry-run"]
    run = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60)
    assert run.returncode
    assert "memory and spool must be left out" in run.stderr
    assert not (tmp_path / "study").exists()
