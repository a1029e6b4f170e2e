"""The server clears away by itself what nobody wants, and holds no more than it may; and plans wait for each other."""

import os
import threading
import time
from dataclasses import replace

import pytest

from explorer.runs import housekeeping, starting
from explorer.runs.background import jobs
from explorer.runs.background.planning import MOST_WAITING, PlanError, PlanQueue, plan
from explorer.runs.disk import FullError, UploadHolds, make_room, remove_unused_uploads, used_bytes
from explorer.runs.request import Request
from explorer.runs.uploads.store import GRACE_S
from explorer.server.public_mode import limits

PUBLIC = limits({"SI_EXPLORER_PUBLIC": "1"})
DAY_S = 24 * 3600


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def upload(studies, name: str, size: int = 10) -> str:
    """An upload on disk: its name in the folder of studies."""
    folder = studies / ".uploads" / name / "features"
    folder.mkdir(parents=True)
    (folder / "layer.npy").write_bytes(b"x" * size)
    return f".uploads/{name}"


def run(studies, title: str, *, age_s: float = 0.0, size: int = 0, uploads: str = "") -> jobs.Job:
    """A run that has ended."""
    job = jobs.new_job(studies, ("study",), title=title, started=time.time() - age_s, uploads=uploads)
    (job.folder / "log.txt").write_bytes(b"x" * size)
    return job


def test_a_second_plan_of_a_session_gives_up_the_upload_of_the_first(tmp_path):
    holds = UploadHolds()
    first, second, third = (upload(tmp_path, name) for name in "abc")
    holds.hold("alice", first, tmp_path)
    holds.hold("bob", second, tmp_path)
    run(tmp_path, "bob's", uploads=third)
    holds.hold("carol", second, tmp_path)
    for session, upload_ in (("alice", second), ("bob", third), ("bob", first), ("carol", third)):
        holds.hold(session, upload_, tmp_path)
    there = {path.name for path in (tmp_path / ".uploads").iterdir()}
    assert there == {"b", "c"}  # alice's second plan; the run's


def test_an_upload_goes_with_its_session_unless_a_run_uses_it(tmp_path):
    clock = Clock()
    holds = UploadHolds(clock)
    for name in ("closed", "open", "used"):
        holds.hold(name, upload(tmp_path, name), tmp_path)
    run(tmp_path, "x", uploads=".uploads/used")
    holds.sweep(lambda session: session == "open", tmp_path)
    assert len(list((tmp_path / ".uploads").iterdir())) == 3
    clock.now = GRACE_S
    holds.sweep(lambda session: session == "open", tmp_path)
    assert {path.name for path in (tmp_path / ".uploads").iterdir()} == {"open", "used"}
    holds.release("used", tmp_path)
    assert (tmp_path / ".uploads" / "used").is_dir()
    assert holds.wanted() == {".uploads/open"}


def test_a_held_upload_is_marked_for_the_other_servers_of_the_folder(tmp_path):
    holds = UploadHolds()
    name = upload(tmp_path, "held")
    holds.hold("s", name, tmp_path)
    os.utime(tmp_path / name, (0, 0))
    holds.sweep(lambda session: True, tmp_path)
    remove_unused_uploads(tmp_path, 60)
    assert (tmp_path / name).is_dir()


def test_uploads_without_a_run_are_removed_when_they_are_old(tmp_path):
    for name in ("old", "wanted", "used", "new"):
        upload(tmp_path, name)
        if name != "new":
            os.utime(tmp_path / ".uploads" / name, (0, 0))
    run(tmp_path, "x", uploads=".uploads/used")
    remove_unused_uploads(tmp_path, 60, {".uploads/wanted"})
    assert {path.name for path in (tmp_path / ".uploads").iterdir()} == {"wanted", "used", "new"}


def test_a_file_with_two_names_takes_its_place_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 100)
    os.link(tmp_path / "a" / "file", tmp_path / "b")
    (tmp_path / "link").symlink_to("/etc")
    assert used_bytes(tmp_path) - (tmp_path / "link").lstat().st_size == 100
    assert used_bytes(tmp_path / "nowhere") == 0


def test_room_is_made_from_the_trash_then_unwanted_uploads_then_the_oldest_runs(tmp_path):
    old, older, young = (
        run(tmp_path, name, age_s=age, size=1000)
        for name, age in (("old", 2 * 3600), ("older", 9 * 3600), ("young", 60))
    )
    removed = run(tmp_path, "removed", size=1000)
    jobs.remove(removed)
    upload(tmp_path, "unwanted", 1000)
    records = used_bytes(tmp_path) - 5000
    make_room(tmp_path, 5000 + records, 0)
    assert len(jobs.removed_jobs(tmp_path)) == 1  # there is room
    make_room(tmp_path, 4500 + records, 0)
    assert jobs.removed_jobs(tmp_path) == []
    assert not (tmp_path / ".uploads" / "unwanted").exists()  # both go at once: neither is anybody's result
    make_room(tmp_path, 3000 + records, 500)
    assert {job.id for job in jobs.list_jobs(tmp_path)} == {old.id, young.id}
    with pytest.raises(FullError, match="Try again in an hour"):
        make_room(tmp_path, 500, 0)
    assert [job.id for job in jobs.list_jobs(tmp_path)] == [young.id]
    assert older.id != old.id


def test_the_server_clears_away_without_a_visitor(tmp_path, monkeypatch):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path))
    left = tmp_path / ".received" / "killed"
    left.mkdir(parents=True)
    (left / "file").write_bytes(b"x")
    os.utime(tmp_path / upload(tmp_path, "left"), (0, 0))
    old, new = run(tmp_path, "old", age_s=2 * DAY_S), run(tmp_path, "new")
    with housekeeping.housekeeping(lambda session: False, every_s=0.05):
        assert not left.exists()  # at once
        assert not (tmp_path / ".uploads" / "left").exists()
        assert jobs.list_jobs(tmp_path) == [new]
        os.utime(tmp_path / upload(tmp_path, "later"), (0, 0))
        deadline = time.monotonic() + 30
        while (tmp_path / ".uploads" / "later").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert not old.folder.exists()


def test_locally_runs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path))
    old = run(tmp_path, "old", age_s=100 * DAY_S)
    housekeeping.tidy(lambda session: False, limits({}))
    assert jobs.list_jobs(tmp_path) == [old]


def test_what_cannot_be_cleared_away_keeps_no_server_from_serving(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path))

    def fail(*arguments):
        raise OSError("no such device")

    monkeypatch.setattr(jobs, "empty_trash", fail)
    with housekeeping.housekeeping(lambda session: False):
        pass
    assert "no such device" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_visitor_s_runs_have_a_share_of_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(starting, "started_jobs", lambda: [run(tmp_path, "mine", size=2000)])
    monkeypatch.setattr(starting, "studies_folder", lambda: tmp_path)
    allowed = replace(PUBLIC, visitor_bytes=1000)
    with pytest.raises(ValueError, match=r"Your runs on this server .* Remove one of them below first"):
        starting.new_run(Request(), {"samples": 10, "layers": ["a"]}, allowed)


def test_a_run_whose_upload_is_gone_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr(starting, "studies_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match="Show the plan again"):
        starting.new_run(Request(), {"samples": 10, "layers": ["a"]}, limits({}), ".uploads/gone")


def test_a_slow_plan_lets_another_one_pass():
    queue, slow, ended = PlanQueue(2), threading.Event(), threading.Event()

    def wait() -> None:
        with queue.turn():
            slow.set()
            ended.wait(30)

    thread = threading.Thread(target=wait)
    thread.start()
    assert slow.wait(30)
    with queue.turn(lambda text: pytest.fail(text)):
        pass
    ended.set()
    thread.join(30)


def test_plans_wait_in_the_order_in_which_they_came_and_say_how_many_are_before():
    queue, order, said = PlanQueue(1), [], []

    def make(name: str, waits: threading.Event) -> None:
        def report(text: str) -> None:
            said.append((name, text))
            waits.set()

        with queue.turn(report):
            order.append(name)

    with queue.turn():
        threads = []
        for name in ("first", "second"):
            waits = threading.Event()
            threads.append(threading.Thread(target=make, args=(name, waits)))
            threads[-1].start()
            assert waits.wait(30)
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second"]
    assert ("first", "1 plan of another visitor is made first") in said
    assert ("second", "2 plans of others are made first") in said


def test_who_leaves_gives_up_the_place_in_the_queue_and_there_are_not_too_many():
    queue = PlanQueue(1)

    def leave(text: str) -> None:
        raise InterruptedError

    with queue.turn():
        for _ in range(MOST_WAITING + 5):
            with pytest.raises(InterruptedError), queue.turn(leave):
                pass
        queue._tickets.extend(object() for _ in range(MOST_WAITING))
        with pytest.raises(PlanError, match="Too many plans"), queue.turn():
            pass


def test_a_plan_is_given_up_with_its_process_when_its_visitor_leaves(tmp_path, monkeypatch):
    import explorer.runs.background.planning

    started = []
    popen = explorer.runs.background.planning.subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    def leave(text: str) -> None:
        raise InterruptedError

    monkeypatch.setattr(explorer.runs.background.planning.subprocess, "Popen", start)
    monkeypatch.setattr(explorer.runs.background.planning, "LOOK_S", 0.01)
    with pytest.raises(InterruptedError):
        plan(Request().arguments(), tmp_path, timeout_s=60, report=leave)
    assert started[0].poll() is not None


def test_a_plan_is_made_once():
    plans = starting.RecentPlans(keep_s=1000, max_plans=2)
    for number in range(3):
        plans.keep(number, {"samples": number})
    assert [plans.find(number) for number in range(3)] == [None, {"samples": 1}, {"samples": 2}]
    assert starting.RecentPlans(keep_s=0).find(1) is None
