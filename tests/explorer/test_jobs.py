"""Runs in processes of their own: everything known about one is in its folder, whoever looks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.study.store.opening import load_study
from explorer.runs.background import jobs
from explorer.runs.background.worker import record_process

WAIT_S = 180  # a run has little claim to the processor, and other tests use it
PIXELS = ("study", "digits", "--out=study", "--model=pixels", "--per-class=10", "--no-probe", "--progress=json")


def wait_for_end(job: jobs.Job) -> jobs.Status:
    deadline = time.monotonic() + WAIT_S
    while not (now := jobs.status(job)).is_over:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


def wait_for(there, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not there():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def slow(tmp_path: Path):
    """A run of many layers of features, whose neighbors take a while: it can be stopped on the way."""
    import numpy as np

    features = tmp_path / "features"
    features.mkdir()
    rng = np.random.default_rng(0)
    for layer in range(30):
        np.save(
            features / f"layer{layer:02d}.npy",
            (rng.normal(size=(400, 20)) + 4 * np.eye(20)[np.arange(400) % 3]).astype(np.float32),
        )
    np.save(features / "labels.npy", np.arange(400) % 3)
    arguments = ("measure", str(features), "--out=study", "--progress=json")
    return jobs.new_job(tmp_path / "studies", arguments, title="Thirty layers", num_layers=30)


def test_a_run_ends_with_a_study(tmp_path):
    job = jobs.start(jobs.new_job(tmp_path, PIXELS, title="Digits, pixels"))
    assert wait_for_end(job) == jobs.Status("complete", layers=1, exit_status=0)
    assert load_study(job.study).state == "complete"
    assert any("chance level" in line for line in jobs.log_lines(job))
    assert not any(line.startswith("{") for line in jobs.log_lines(job))


def test_a_run_is_found_again_by_whoever_looks(tmp_path):
    job = jobs.start(jobs.new_job(tmp_path, PIXELS, title="Digits, pixels", num_layers=1, estimated_s=2.5))
    assert job.id.startswith("digits-pixels-")
    assert jobs.find_job(tmp_path, job.id) == job
    assert jobs.list_jobs(tmp_path) == [job]
    assert jobs.is_alive(jobs.find_job(tmp_path, job.id))
    wait_for_end(job)
    assert not jobs.is_alive(job)


def test_a_stopped_run_keeps_its_layers_and_goes_on_from_there(slow):
    job = jobs.start(slow)
    wait_for(lambda: jobs.status(job).layers >= 2, "two layers")
    now = jobs.status(job)
    assert (now.state, now.unit, now.total) == ("running", "layers", 30)
    assert load_study(job.study).state == "running"
    jobs.cancel(job)
    stopped = wait_for_end(job)
    assert (stopped.state, stopped.exit_status) == ("cancelled", 130)
    assert 2 <= stopped.layers < 30
    assert load_study(job.study).state == "partial"
    again = jobs.start(job)
    assert jobs.status(again).layers >= stopped.layers
    assert wait_for_end(again).state == "complete"
    assert len(load_study(job.study).layers) == 30


def test_a_killed_run_says_what_that_means(slow):
    job = jobs.start(slow)
    wait_for(lambda: jobs.status(job).layers >= 1, "a layer")
    os.killpg(jobs.process_id(job), signal.SIGKILL)
    now = wait_for_end(job)
    assert (now.state, now.exit_status) == ("failed", None)
    assert "memory ran out" in jobs.error_text(job)
    assert load_study(job.study).state == "partial"


def test_a_run_that_fails_says_why(tmp_path):
    job = jobs.start(jobs.new_job(tmp_path, (*PIXELS, "--sizes=5"), title="Digits"))
    now = wait_for_end(job)
    assert (now.state, now.exit_status, now.layers) == ("failed", 2, 0)
    assert jobs.error_text(job).startswith("size must be between 20")
    assert not jobs.has_results(job)


def test_wrong_usage_of_the_command_line_is_told_without_its_usage(tmp_path):
    job = jobs.start(jobs.new_job(tmp_path, ("study", "digits", "--out=study", "--pooling=max"), title="Digits"))
    assert wait_for_end(job).exit_status == 2
    assert jobs.error_text(job).startswith("argument --pooling")


def test_a_run_that_goes_on_is_neither_started_nor_removed(slow):
    job = jobs.start(slow)
    with pytest.raises(jobs.BusyError, match="is already active"):
        jobs.start(job)
    with pytest.raises(jobs.BusyError, match="Stop it first"):
        jobs.delete(job)
    jobs.cancel(job, at_once=True)
    assert wait_for_end(job).state == "cancelled"


def in_line(studies: Path, *titles: str) -> list[jobs.Job]:
    return [jobs.start(jobs.new_job(studies, PIXELS, title=title), max_waiting=2) for title in titles]


def test_runs_in_line_work_one_after_the_other(tmp_path, another_works):
    with another_works(tmp_path):
        first, second = in_line(tmp_path, "first", "second")
        assert [(jobs.status(job).state, jobs.status(job).before) for job in (first, second)] == [
            ("waiting", 1),
            ("waiting", 2),
        ]
        with pytest.raises(jobs.BusyError, match="2 runs wait in line, and no more may"):
            in_line(tmp_path, "third")
        jobs.cancel(first)
        assert wait_for_end(first).state == "cancelled"
        assert jobs.status(second).before == 1
        first = jobs.start(first, max_waiting=2)
        assert (jobs.status(second).before, jobs.status(first).before) == (1, 2)
    assert wait_for_end(second).state == "complete"
    assert wait_for_end(first).state == "complete"
    assert (second.folder / "exit").stat().st_mtime <= (first.folder / "started").stat().st_mtime


def test_a_run_that_dies_in_line_gives_up_its_place(tmp_path, another_works):
    with another_works(tmp_path):
        first, second = in_line(tmp_path, "first", "second")
        os.killpg(jobs.process_id(first), signal.SIGKILL)
        assert wait_for_end(first).state == "failed"
        assert "while it waited in line" in jobs.error_text(first)
        assert jobs.status(second).before == 1
    assert wait_for_end(second).state == "complete"


def test_the_time_in_line_does_not_count(tmp_path, another_works):
    with another_works(tmp_path):
        (job,) = in_line(tmp_path, "waits")
        os.utime(job.folder / "started", (0, 0))
    wait_for(lambda: jobs.status(job).state != "waiting", "its turn")
    assert jobs.status(job).elapsed_s < 1000
    assert wait_for_end(job).state == "complete"


def test_who_waits_has_loaded_nothing():
    heavy = ["numpy", "pandas", "pyarrow", "streamlit"]
    code = f"import sys, explorer.runs.background.worker; print(sorted(set({heavy}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=jobs.ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_a_run_that_takes_too_long_is_stopped(slow):
    job = jobs.start(slow, limit_s=0.3)
    assert wait_for_end(job).state == "failed"
    assert "may take 0 s" in jobs.error_text(job)


def test_no_zombie_is_left(tmp_path):
    job = jobs.start(jobs.new_job(tmp_path, PIXELS, title="Digits"))
    number = jobs.process_id(job)
    assert number
    wait_for_end(job)
    wait_for(lambda: not Path(f"/proc/{number}").exists(), "the end of the process")


@pytest.mark.parametrize("name", ["", "..", "../other", "/etc", "a/b", ".uploads", "A", "x" * 200, "nothing-here"])
def test_only_an_id_finds_a_run(tmp_path, name):
    jobs.new_job(tmp_path / "studies", PIXELS, title="other")
    assert jobs.find_job(tmp_path / "studies", name) is None


def test_a_damaged_record_is_no_run(tmp_path):
    job = jobs.new_job(tmp_path, PIXELS, title="Digits")
    (job.folder / "job.json").write_text('{"arguments": 3')
    assert jobs.list_jobs(tmp_path) == []


def test_ids_cannot_be_guessed(tmp_path):
    ids = {jobs.new_job(tmp_path, PIXELS, title="Ä / ..").id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(name.rpartition("-")[2]) == 16 for name in ids)


def test_a_removed_run_takes_its_upload_along_unless_another_uses_it(tmp_path):
    upload = tmp_path / ".uploads" / "abc"
    upload.mkdir(parents=True)
    one, other = (jobs.new_job(tmp_path, PIXELS, title="x", uploads=".uploads/abc") for _ in range(2))
    jobs.delete(one)
    assert upload.is_dir()
    jobs.delete(other)
    assert not upload.exists()


def test_what_is_old_is_forgotten(tmp_path):
    upload = tmp_path / ".uploads" / "used"
    upload.mkdir(parents=True)
    old = jobs.new_job(tmp_path, PIXELS, title="old", started=time.time() - 3601)
    new = jobs.new_job(tmp_path, PIXELS, title="about to start", uploads=".uploads/used")
    jobs.forget_old(tmp_path, keep_s=3600)
    assert jobs.list_jobs(tmp_path) == [new]
    assert not old.folder.exists()
    assert upload.exists()


def test_a_removed_run_can_be_put_back_with_its_upload(tmp_path):
    upload = tmp_path / ".uploads" / "abc"
    upload.mkdir(parents=True)
    job = jobs.new_job(tmp_path, PIXELS, title="x", uploads=".uploads/abc")
    (job.study).mkdir()
    jobs.remove(job)
    (removed,) = jobs.removed_jobs(tmp_path)
    assert (jobs.list_jobs(tmp_path), removed.id, upload.is_dir()) == ([], job.id, True)
    jobs.empty_trash(tmp_path, keep_s=3600)
    assert jobs.restore(removed) == job
    assert (jobs.list_jobs(tmp_path), jobs.removed_jobs(tmp_path), job.study.is_dir()) == ([job], [], True)


def test_the_trash_is_emptied_of_what_was_removed_long_ago_and_of_halves(tmp_path):
    upload = tmp_path / ".uploads" / "abc"
    upload.mkdir(parents=True)
    old, new = (jobs.new_job(tmp_path, PIXELS, title="x", uploads=".uploads/abc") for _ in range(2))
    for job in (old, new):
        jobs.remove(job)
    os.utime(tmp_path / jobs.TRASH / old.id / "removed", (0, 0))
    half = tmp_path / jobs.TRASH / "half-0123456789abcdef"
    half.mkdir()
    jobs.empty_trash(tmp_path, keep_s=3600)
    assert [job.id for job in jobs.removed_jobs(tmp_path)] == [new.id]
    assert (half.exists(), upload.is_dir()) == (False, True)
    jobs.empty_trash(tmp_path, keep_s=-1)
    assert (jobs.removed_jobs(tmp_path), upload.exists()) == ([], False)


def test_a_run_outlives_the_server_that_started_it_and_another_can_stop_it(slow):
    code = """
import os, sys
from pathlib import Path
from explorer.runs.background import jobs
studies, name = Path(sys.argv[1]), sys.argv[2]
jobs.start(jobs.find_job(studies, name), max_waiting=1)
os._exit(9)
"""
    studies = slow.folder.parent
    subprocess.run([sys.executable, "-c", code, str(studies), slow.id], cwd=jobs.ROOT, check=False, timeout=60)
    job = jobs.find_job(studies, slow.id)
    wait_for(lambda: jobs.status(job).state == "running", "its turn")
    other = jobs.new_job(studies, PIXELS, title="Another")
    jobs.start(other, max_waiting=1)
    assert jobs.status(other).before == 1  # the orphan counts
    jobs.stop_overdue(studies, limit_s=3600)
    assert jobs.status(job).state == "running"
    os.utime(job.folder / "started", (0, 0))
    jobs.stop_overdue(studies, limit_s=3600)
    assert wait_for_end(job).state == "cancelled"
    assert wait_for_end(other).state == "complete"


@pytest.mark.parametrize("number", ["", "0", "1", "-1", "many"])
def test_a_process_that_is_not_known_is_not_stopped(slow, monkeypatch, number):
    job = jobs.start(slow)
    right = (job.folder / "started").read_text()
    monkeypatch.setattr(os, "killpg", lambda *arguments: pytest.fail("killed"))
    (job.folder / "started").write_text(number)
    jobs.cancel(job, at_once=True)
    monkeypatch.undo()
    (job.folder / "started").write_text(right)
    jobs.cancel(job, at_once=True)
    wait_for_end(job)


def test_whoever_finds_the_number_of_a_process_can_read_it(tmp_path, monkeypatch):
    seen = []

    def replace(source, target):
        seen.append((Path(source).read_text(), Path(target).exists()))
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    record_process(tmp_path)
    assert seen == [(str(os.getpid()), False)]
    assert (tmp_path / "started").read_text() == str(os.getpid())


def test_the_process_has_little_claim_on_the_processor(slow):
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    job = jobs.start(slow)
    fields = Path(f"/proc/{jobs.process_id(job)}/stat").read_text().rpartition(")")[2].split()
    jobs.cancel(job, at_once=True)
    wait_for_end(job)
    assert int(fields[16]) >= 10  # its nice value
