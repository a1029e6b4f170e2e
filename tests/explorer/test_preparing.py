"""The pages of an open study are prepared in the background, and open without computing it again."""

import gc
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st

import core
from core.analysis.samples.selection import LayerSelection
from core.study.store.opening import StudyError, load_study
from explorer import first_views, preparing
from explorer.studies import sample_paths
from explorer.studies.loading import DEMO, study_stamp

COMPUTED = (
    "explorer.studies.sample_paths.read_path_arrays",
    "explorer.studies.map_points.map_planes",
    "explorer.studies.map_points.map_bytes",
    "explorer.app_pages.decide.computed.CutCandidates.of",
    "explorer.app_pages.decide.computed.class_cost_text",
    "explorer.app_pages.decide.computed.separation_across_blocks",
    "explorer.app_pages.classes.clusters_view.find_class_clusters",
)


@pytest.fixture
def preparer(monkeypatch):
    monkeypatch.setattr(preparing, "PAUSE_S", 0)
    preparer = preparing.Preparer()
    yield preparer
    preparer.stop()


@pytest.fixture
def offer(monkeypatch):
    """Let functions stand for the parts of the pages, by the path of a study."""

    def put(parts):
        monkeypatch.setattr(first_views, "first_views", lambda path, stamp: iter(parts[path]))

    return put


def test_pages_open_with_what_was_prepared(open_view, monkeypatch, caplog):
    path = DEMO / "dogs-untrained"
    st.cache_data.clear()
    st.cache_resource.clear()
    worker = threading.Thread(target=lambda: [part() for part in first_views.first_views(str(path), study_stamp(path))])
    worker.start()
    worker.join()
    assert "missing ScriptRunContext" not in caplog.text  # as where a spinner is to be shown without a page

    def fail(*args, **kwargs):
        raise AssertionError("computed again")

    for name in COMPUTED:
        monkeypatch.setattr(name, fail)
    for view in ("samples", "decide", "classes"):
        page = open_view(view, study=str(path))
        assert not page.error, view


def test_two_classes_are_alike_whether_all_samples_are_known_or_not():
    path, chosen = DEMO / "digits", ("mean", "test", "test")
    study = (str(path), study_stamp(path))
    selection = LayerSelection("top_conv", "mean", "test")
    st.cache_resource.clear()
    gc.collect()
    assert sample_paths.known_sample_paths(*study, *chosen) is None
    read = sample_paths.PairPaths(*study, selection, ("3", "8")).nearest
    every = sample_paths.cached_sample_paths(*study, *chosen)
    assert sample_paths.known_sample_paths(*study, *chosen) is every
    pd.testing.assert_frame_equal(
        sample_paths.PairPaths(*study, selection, ("3", "8")).nearest, read, check_dtype=False
    )
    del every
    st.cache_resource.clear()
    gc.collect()
    assert sample_paths.known_sample_paths(*study, *chosen) is None  # the cache alone keeps them


def test_nothing_is_given_of_a_study_that_is_being_written(tiny_study):
    info = tiny_study / "study.json"
    assert load_study(tiny_study).state == "complete"
    info.write_text(info.read_text().replace('"complete"', '"running"'))
    assert load_study(tiny_study).state == "partial"
    assert list(first_views.first_views(str(tiny_study), study_stamp(tiny_study))) == []


def test_nothing_is_given_of_a_study_without_any_value(tmp_path):
    same, labels = np.ones((12, 2)), np.arange(12) % 2
    out = tmp_path / "same"
    core.study_from_features({"layer": same}, labels, out=out)
    assert list(first_views.first_views(str(out), study_stamp(out))) == []


def test_a_study_is_prepared_once(preparer, offer):
    calls, done = [], threading.Event()
    offer({"a": [lambda: calls.append("a"), done.set]})
    for _ in range(3):
        preparer.prepare("a", (1,))
    assert done.wait(10)
    preparer.prepare("a", (1,))
    preparer.stop()
    assert calls == ["a"]


def test_a_study_that_was_left_is_not_gone_on_with(preparer, offer):
    calls, began, go_on, done = [], threading.Event(), threading.Event(), threading.Event()

    def wait():
        began.set()
        assert go_on.wait(10)

    offer({"a": [wait, lambda: calls.append("a")], "b": [lambda: calls.append("b"), done.set]})
    preparer.prepare("a", (1,))
    assert began.wait(10)
    preparer.prepare("b", (1,))
    go_on.set()
    assert done.wait(10)
    assert calls == ["b"]


def test_nothing_is_begun_while_a_page_is_drawn(preparer, offer):
    calls, began = [], threading.Event()
    offer({"a": [lambda: calls.append("first"), lambda: (calls.append("second"), began.set())]})
    with preparer.held():
        with suppress(ZeroDivisionError), preparer.held():
            preparer.prepare("a", (1,))
            raise ZeroDivisionError
        assert not began.wait(0.5)
        assert not calls
    assert began.wait(10)
    assert calls == ["first", "second"]


def test_a_part_that_a_study_lacks_leaves_the_others(preparer, offer, caplog):
    done = threading.Event()

    def lacks():
        raise StudyError("no neighbors")

    offer({"a": [lacks, done.set]})
    preparer.prepare("a", (1,))
    assert done.wait(10)
    assert not caplog.records


def test_a_study_that_is_removed_meanwhile_is_no_defect(preparer, offer, tmp_path, caplog):
    began, done = threading.Event(), threading.Event()

    def of_removed():
        began.set()
        yield from first_views_of(str(tmp_path / "removed"), (1,))

    first_views_of = first_views.first_views
    offer({"a": of_removed(), "b": [done.set]})
    preparer.prepare("a", (1,))
    assert began.wait(10)
    preparer.prepare("b", (1,))
    assert done.wait(10)
    assert not [record for record in caplog.records if record.name == preparing.__name__]


def test_a_defect_is_in_the_log_and_the_next_study_is_prepared(preparer, offer, caplog):
    began, done = threading.Event(), threading.Event()

    def fail():
        began.set()
        raise ZeroDivisionError

    offer({"a": [fail], "b": [done.set]})
    preparer.prepare("a", (1,))
    assert began.wait(10)
    preparer.prepare("b", (1,))
    assert done.wait(10)
    assert "the pages of a could not be prepared" in caplog.text


def test_after_the_end_nothing_begins(preparer, offer):
    calls = []
    offer({"a": [lambda: calls.append("a")]})
    preparer.stop()
    preparer.prepare("a", (1,))
    assert not calls


def test_a_public_server_prepares_nothing(preparer, offer, monkeypatch):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    calls = []
    offer({"a": [lambda: calls.append("a")]})
    preparer.prepare("a", (1,))
    preparer.stop()
    assert not calls


def test_the_app_prepares_the_study_that_is_open(monkeypatch):
    from streamlit.testing.v1 import AppTest

    asked = []
    monkeypatch.setattr(preparing.PREPARER, "prepare", lambda *study: asked.append(study))
    page = AppTest.from_file(Path(preparing.__file__).with_name("app.py"), default_timeout=90)
    page.query_params["study"] = "digits"
    page.run()
    assert asked == [(str(DEMO / "digits"), study_stamp(DEMO / "digits"))]
