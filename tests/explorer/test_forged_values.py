"""What a client sends that is no browser: over a real websocket, to a real public server. Nothing changes for it."""

import json
import math
import re
import urllib.error
import urllib.request

import pytest
from streamlit.proto.Common_pb2 import FileUploaderState

from explorer.controls.widgets import selected_point, selected_row
from explorer.runs.background import jobs
from explorer.server.visitors import COOKIE, visitor_id
from tests.browser import serve
from tests.explorer.streamlit_client import session

PAGES = (
    "",
    "compare",
    "compare?tab=another-study",
    "compare?tab=related-measures",
    "compare?tab=similarity",
    "classes",
    "classes?tab=every",
    "classes?tab=pairs",
    "samples",
    "samples?tab=data-quality",
    "sample-size",
    "decide",
    "method?tab=notebook",
    "new-study",
)
ALICE, BOB = "a" * 32, "b" * 32
POINTS = [{"layer": "nonsense", "class_name": "nobody", "nearest_class": "nobody", "sample": 99_999_999}]
SELECTIONS = [
    {"pick": POINTS, "picked": POINTS, "brush": {"place": [-1e300, 1e300]}},
    {"pick": 3, "picked": 3, "brush": 5},
    {"pick": [3], "picked": [{}], "brush": {"place": ["a", None]}},
]
FORGED = {
    "selectbox": ["/etc/passwd", "\0"],
    "button_group": [["nonsense"], ["x"] * 300],
    "number_input": [-1.0, 1e300, 0.5],
    "slider": [["nonsense", "nobody"]],
    "multiselect": [["nonsense", "[" * 50]],
    "text_input": ["/etc/passwd", "\0", "--out=/tmp/x"],
    "vega_lite_chart": [json.dumps({"selection": selection}) for selection in SELECTIONS],
    "dataframe": [
        json.dumps({"selection": {"rows": rows, "columns": [], "cells": []}}) for rows in ([99_999], [-1], ["a"])
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A small public server: its address, its folder of studies, and its log."""
    folder = tmp_path_factory.mktemp("forged")
    environ = {"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_STUDIES": str(folder / "studies")}
    with serve(environ=environ, log=folder / "log.txt") as (address, _):
        yield address, folder / "studies", folder / "log.txt"


def errors(log) -> list[str]:
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8"))
    return re.findall(r"^.*(?:Traceback|Error:|Exception:).*$", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_no_value_that_is_not_offered_breaks_a_page(server, page):
    address, studies, log = server
    path, _, query = page.partition("?")
    with session(address) as client:
        client.open(path, query)
        kinds = {key: kind for key, kind in client.kinds().items() if kind in FORGED}
    assert len(kinds) >= 1
    before = len(errors(log))
    for forged in range(3):
        for kind in sorted(set(kinds.values())):
            values = FORGED[kind]
            with session(address) as client:
                client.open(path, query)
                client.send({key: values[forged % len(values)] for key, one in kinds.items() if one == kind})
                assert client.texts("exception") == [], kind
                client.open(path, query)
                assert client.texts("exception") == [], kind
    assert errors(log)[before:] == []
    assert not studies.exists() or jobs.list_jobs(studies) == []


@pytest.mark.parametrize("page", ["", "classes", "decide"])
def test_a_path_opens_no_study(server, page, tiny_study):
    address, _, _ = server
    with session(address) as client:
        client.open(page)
        client.send({"study": str(tiny_study)})
        assert tiny_study.name not in client.query
        assert not any(tiny_study.name in str(message) for _, message in client.elements)


FORM = {
    "new source": ["folder"],
    "new model": "efficientnet-lite0",
    "new split": ["everything"],
    "new weights of efficientnet-lite0": "/etc/passwd",
}


def test_a_form_that_was_filled_by_hand_starts_what_is_offered_or_nothing(server):
    address, studies, _ = server
    with session(address) as client:
        client.open("new-study", "per_class=10")
        known = client.widgets()
        client.send({key: value for key, value in FORM.items() if key in known and key != "new model"})
        client.send({"show_plan": True})
        (command,) = client.texts("code")
        assert "study digits" in command
        assert "--model=pixels" in command
        client.send({"new model": "efficientnet-lite0"})
        client.send({"show_plan": True})
        assert not any("efficientnet" in text for text in client.texts("code"))
        client.send({"start_run": True}, ids={"start_run": "$$ID-0123456789abcdef-start_run"})
    assert not studies.exists() or jobs.list_jobs(studies) == []


@pytest.mark.parametrize(
    ("key", "value", "option"),
    [
        ("new neighbors", 1e6, "--neighbors=1000000"),
        ("new repeats", -5.0, "--repeats=-5"),
        ("new seed", 2.0**40, "--seed=1099511627776"),
        ("new per class", 1.0, "--per-class=1 "),
    ],
)
def test_numbers_out_of_range_are_not_taken(server, key, value, option):
    address, studies, log = server
    before = len(errors(log))
    with session(address) as client:
        client.open("new-study", "per_class=10")
        client.send({key: value})
        client.send({"show_plan": True})
        assert client.texts("exception") == []
        assert not any(option in f"{text} " for text in client.texts("code"))
    assert errors(log)[before:] == []
    assert not studies.exists() or jobs.list_jobs(studies) == []


@pytest.mark.parametrize(("text", "words"), [("\0", "NUL characters"), ("--out=/tmp/x", "sizes")])
def test_texts_that_are_no_option_are_refused(server, text, words):
    address, _, log = server
    before = len(errors(log))
    with session(address) as client:
        client.open("new-study", "per_class=10")
        client.send({"new sizes": text})
        client.send({"show_plan": True})
        said = client.texts("alert")
        assert any(words in text for text in said), said
    assert errors(log)[before:] == []


def test_a_number_that_is_none_changes_nothing_for_others(server):
    address, _, _ = server
    with session(address) as client, session(address) as other:
        other.open("new-study")
        client.open("new-study")
        client.send({"new seed": math.nan})
        other.send({"show_plan": True})
        assert other.texts("exception") == []


def test_the_files_of_another_session_and_files_that_are_none_are_no_files(server):
    address, _, _ = server
    forged = FileUploaderState()
    forged.uploaded_file_info.add(file_id="0123", name="/etc/passwd", size=3)
    forged.uploaded_file_info.add(file_id="../../etc", name="x.npy", size=1 << 62)
    with session(address) as client:
        client.open("new-study", "source=features")
        client.send({"new features": forged})
        client.send({"show_plan": True})
        assert client.texts("exception") == []
        assert any("choose a file to upload" in text for text in client.texts("alert"))


def test_an_upload_for_a_session_that_is_none_is_refused(server):
    address, studies, _ = server
    body = b'--B\r\nContent-Disposition: form-data; name="a"; filename="../a.npy"\r\n\r\nabc\r\n--B--\r\n'
    for session_id in ("0123", "..%2F..%2Fetc"):
        request = urllib.request.Request(
            f"{address}/_stcore/upload_file/{session_id}/f",
            data=body,
            method="PUT",
            headers={"Content-Type": "multipart/form-data; boundary=B"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        assert refused.value.code in (400, 403, 404)
        refused.value.close()
    assert not [path for path in studies.rglob("*") if path.is_file() and ".received" in path.parts]


def test_a_message_that_is_too_large_is_not_kept(server):
    from websockets.exceptions import ConnectionClosed

    address, _, _ = server
    with session(address) as client:
        client.open("new-study")
        with pytest.raises(ConnectionClosed):
            client.send({"new sizes": "1" * 3_000_000})


def test_who_has_the_link_of_a_run_sees_it_and_cannot_stop_or_remove_it(server):
    address, studies, _ = server
    job = jobs.new_job(studies, ("study", "digits", "--out=study"), title="Hers", visitor=visitor_id({COOKIE: ALICE}))
    query = f"run={job.id}"
    try:
        with session(address, cookies=f"{COOKIE}={ALICE}") as alice:
            alice.open("new-study", query)
            shown = alice.widgets()
            assert {"remove_run", "resume_run"} <= set(shown)
            alice.open("new-study")
            assert any("Hers" in text for text in alice.texts("markdown"))  # without the link, in a new session
        with session(address, cookies=f"{COOKIE}={BOB}") as bob:
            bob.open("new-study")
            assert not any("Hers" in text for text in bob.texts("markdown"))
            bob.open("new-study", query)
            assert any("Hers" in text for text in bob.texts("markdown"))
            assert not {"remove_run", "resume_run"} & set(bob.widgets())
            bob.send({"remove_run": True}, ids={"remove_run": shown["remove_run"]})
            assert jobs.find_job(studies, job.id) is not None
        with session(address, cookies=f"{COOKIE}={ALICE}") as alice:
            alice.open("new-study", query)
            alice.send({"remove_run": True})
            assert jobs.find_job(studies, job.id) is None
            (undo,) = [key for key in alice.widgets() if key.startswith("restore_run")]
            alice.send({undo: True})
            assert jobs.find_job(studies, job.id) is not None
    finally:
        if left := jobs.find_job(studies, job.id):
            jobs.delete(left)


@pytest.mark.parametrize("event", [None, 3, {}, {"selection": 3}, {"selection": {"picked": 3, "rows": 3}}])
def test_a_selection_that_is_none_selects_nothing(event):
    assert selected_point(event, "picked", "layer") == {}
    assert selected_row(event, 5) is None


def test_a_selection_has_the_fields_and_the_rows_that_there_are():
    points = {"selection": {"picked": [{"layer": "a", "sample": 3}], "rows": [4]}}
    assert selected_point(points, "picked", "layer", "sample") == {"layer": "a", "sample": 3}
    assert selected_point(points, "picked", "class_name") == {}
    assert (selected_row(points, 5), selected_row(points, 4)) == (4, None)
