"""The check of images beside a network that is being loaded: errors of both, interrupts, and filters of warnings."""

import threading
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import rank_networks
from core.data.errors import DataError
from core.data.images.decoding import quiet_pillow
from core.data.images.labelled_images import LabelledImages
from core.study.image_check import checked_meanwhile
from core.study.plan import Progress, StudyOptions, plan_study

IMAGES = LabelledImages("few", ("a",), np.array([0]), ("cat",), np.array(["train"]), None, ("",), np.ones((1, 2), int))


def check_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("check-images")]


@pytest.fixture
def photographs(tmp_path):
    """A hundred images, more than are checked between two reports."""
    for number in range(100):
        folder = tmp_path / "images" / "train" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 200)).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_the_check_runs_meanwhile_and_its_progress_is_told_in_this_thread():
    may_end, told = threading.Event(), []

    def check(progress):
        progress(1, 2)
        assert may_end.wait(60)
        progress(2, 2)
        return IMAGES

    def report(done: int, total: int) -> None:
        told.append((done, total, threading.current_thread()))
        may_end.set()

    with checked_meanwhile(check) as image_check:
        assert image_check.result(report) is IMAGES
    assert told[0] == (1, 2, threading.current_thread())
    assert not check_threads()


def test_a_failure_of_the_block_stops_the_check_at_its_next_report():
    begun, reports = threading.Event(), []

    def check(progress):
        for number in range(10_000):
            progress(number, 10_000)
            reports.append(number)
            begun.set()
            time.sleep(0.001)
        return IMAGES

    with pytest.raises(ZeroDivisionError), checked_meanwhile(check):
        1 / int(not begun.wait(60))
    assert len(reports) < 10_000
    assert not check_threads()


@pytest.mark.parametrize("is_broken", [False, True], ids=["good images", "a broken image"])
def test_an_error_about_the_network_comes_whatever_the_images_are(photographs, is_broken):
    if is_broken:
        (photographs / "train" / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="model must be one of"):
        plan_study(StudyOptions(str(photographs), model="efficientnet-lite9"))
    assert not check_threads()


def test_faults_of_the_images_come_after_the_network_is_loaded(photographs, monkeypatch):
    monkeypatch.setattr("core.study.plan.load_network_of", lambda *_: None)
    (photographs / "train" / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png"):
        plan_study(StudyOptions(str(photographs)))


@pytest.mark.parametrize("when", ["network", "images"])
def test_an_interrupt_by_the_report_ends_the_plan(photographs, monkeypatch, when):
    """As Ctrl-C and the app's button do: it comes through, whichever of the two is being told."""

    def load(options, progress):
        if when == "network":
            progress(Progress("downloading weights", 1, 2, "bytes"))

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt(progress.stage)

    monkeypatch.setattr("core.study.plan.load_network_of", load)
    with pytest.raises(KeyboardInterrupt, match={"network": "downloading weights", "images": "checking images"}[when]):
        plan_study(StudyOptions(str(photographs)), progress=stop)
    assert not check_threads()


def test_a_ranking_checks_its_images_while_its_networks_are_loaded(photographs, tmp_path, monkeypatch):
    """An error about a network comes first there, too, and stops the check."""
    checked_beside: list[list[str]] = []

    def load(options: StudyOptions, progress: object) -> None:
        checked_beside.append(check_threads())
        raise ValueError(f"model must be another; got {options.model!r}.")

    monkeypatch.setattr("core.analysis.ranking.ranking.load_network_of", load)
    (photographs / "train" / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="model must be another; got 'resnet50'"):
        rank_networks(RankOptions(str(photographs), ("resnet50", "pixels")), tmp_path / "ranking")
    assert [len(names) for names in checked_beside] == [1]
    assert not check_threads()


def test_threads_that_silence_pillow_in_any_order_leave_the_filters_as_they_were():
    before = list(warnings.filters)
    entered, may_leave = threading.Event(), threading.Event()

    def other() -> None:
        with quiet_pillow:
            entered.set()
            may_leave.wait(60)

    thread = threading.Thread(target=other)
    with quiet_pillow:
        thread.start()
        assert entered.wait(60)
    assert warnings.filters != before  # the other thread is still within
    may_leave.set()
    thread.join()
    assert warnings.filters == before
