"""Files that arrive are counted, bounded, and removed when nobody shows them; and no byte of them goes to Streamlit."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.runs.uploads.store import GRACE_S, UploadStore
from explorer.server.public_mode import limits
from explorer.server.visitors import COOKIE, new_cookie, parse_cookies, visitor_id
from tests.explorer.upload_client import Browser

ALLOWED = replace(limits({"SI_EXPLORER_PUBLIC": "1"}), upload_bytes=100, uploads=3, all_upload_bytes=150)
ALICE, BOB = "1" * 32, "2" * 32  # values of their cookies


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    made = UploadStore(folder=lambda: tmp_path / "received", limits=lambda: ALLOWED, clock=clock)
    yield made
    made.close()


def put(store: UploadStore, file_id: str, size: int, *, session: str = "s", visitor: str = "", announced: int = 0):
    incoming = store.receive(session, file_id, visitor or session, announced)
    for start in range(0, size, 40):
        incoming.write(b"x" * min(40, size - start))
    incoming.finish()
    return store.find(session, file_id)


def on_disk(tmp_path: Path) -> int:
    return sum(path.stat().st_size for path in (tmp_path / "received").rglob("*") if path.is_file())


def test_a_file_is_on_disk_and_counted(store, tmp_path):
    stored = put(store, "a", 60)
    assert stored.path.read_bytes() == b"x" * 60
    assert (store.held_bytes("s"), store.held_bytes(), on_disk(tmp_path)) == (60, 60, 60)


@pytest.mark.parametrize("announced", [0, 70])
def test_what_exceeds_a_visitor_s_share_is_not_kept_and_says_so(store, tmp_path, announced):
    put(store, "a", 60)
    stored = put(store, "b", 70, announced=announced)
    assert stored.path is None
    assert "at most 0 MiB together" in stored.refused
    assert (store.held_bytes(), on_disk(tmp_path)) == (60, 60)
    assert put(store, "c", 40).refused == ""  # what was refused counts nothing


def test_a_share_is_the_visitor_s_over_all_sessions_and_the_server_s_over_all_visitors(store):
    put(store, "a", 60, session="tab1", visitor="alice")
    assert "over all of your tabs" in put(store, "b", 50, session="tab2", visitor="alice").refused
    put(store, "a", 80, session="other", visitor="bob")
    assert "other visitors" in put(store, "b", 20, session="third", visitor="carol").refused


def test_files_that_are_announced_count_before_they_arrive(store):
    store.receive("s", "a", "s", 90)
    assert put(store, "b", 20, announced=20).refused != ""


def test_there_is_a_most_number_of_files(store):
    for name in "abc":
        put(store, name, 0)
    assert "At most 3 files" in put(store, "d", 0).refused


def test_what_was_replaced_or_taken_out_is_removed_and_what_is_still_to_be_shown_is_not(store, tmp_path):
    put(store, "a", 30)
    store.keep_shown("s", {"a"})
    put(store, "b", 40)  # has arrived, and the page does not know it yet
    store.keep_shown("s", {"a"})
    assert store.held_bytes() == 70
    store.keep_shown("s", {"b"})
    assert (store.find("s", "a"), store.held_bytes(), on_disk(tmp_path)) == (None, 40, 40)


def test_a_page_that_was_left_keeps_nothing_not_even_what_still_arrives(store, tmp_path):
    put(store, "a", 30)
    late = store.receive("s", "b", "s", 0)
    late.write(b"x" * 20)
    store.remove_session("s")
    late.write(b"x" * 20)
    late.finish()
    assert (store.find("s", "b"), store.held_bytes(), on_disk(tmp_path)) == (None, 0, 0)


def test_a_session_that_ended_keeps_its_files_for_a_moment(store, clock, tmp_path):
    put(store, "a", 30, session="closed")
    put(store, "a", 30, session="open")
    store.sweep(lambda session: session == "open", None)
    clock.now = GRACE_S - 1
    store.sweep(lambda session: True, None)  # it came back
    clock.now = GRACE_S + 1
    store.sweep(lambda session: session == "open", None)
    assert store.held_bytes() == 60
    clock.now = 2 * GRACE_S + 1
    store.sweep(lambda session: session == "open", None)
    assert (store.find("closed", "a"), on_disk(tmp_path)) == (None, 30)
    assert store.find("open", "a") is not None


def test_old_files_are_removed_though_their_page_is_open(store, clock):
    put(store, "a", 30)
    clock.now = 50
    store.sweep(lambda session: True, 50)
    assert store.find("s", "a") is None


def test_files_of_a_killed_server_are_removed_those_of_a_living_one_are_not(store, tmp_path, clock):
    code = """
import os, sys
from pathlib import Path
from explorer.runs.uploads.store import UploadStore
incoming = UploadStore(folder=lambda: Path(sys.argv[1])).receive("s", "a", "s", 0)
incoming.write(b"x" * 50)
incoming.finish()
os._exit(9)
"""
    put(store, "mine", 30)
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "received")], cwd=root, check=False, timeout=60)
    assert on_disk(tmp_path) == 80
    another = UploadStore(folder=lambda: tmp_path / "received", limits=lambda: ALLOWED, clock=clock)
    another.remove_leftovers()
    assert on_disk(tmp_path) == 30


def test_a_full_disk_is_told(store, monkeypatch, caplog):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    incoming = store.receive("s", "a", "s", 0)
    monkeypatch.setattr(Path, "open", full)
    incoming.write(b"x")
    incoming.finish()
    assert store.find("s", "a").refused == "The server's disk is full. Try again later."
    assert "Traceback" not in caplog.text


def test_a_visitor_is_known_by_a_cookie_of_ours_only():
    token = new_cookie(secure=True).partition(";")[0]
    assert "Secure" in new_cookie(secure=True)
    assert len(visitor_id(parse_cookies(f"a=b; {token}"))) == 32
    assert visitor_id({COOKIE: ALICE}) != visitor_id({COOKIE: BOB})
    assert visitor_id({COOKIE: "../../etc"}) == visitor_id({}) == visitor_id(parse_cookies("\0;=,")) == ""


def form(content: bytes, *, parts: int = 1) -> bytes:
    head = b'--B\r\nContent-Disposition: form-data; name="a.npy"; filename="a: b.npy"\r\nContent-Type: x/y\r\n\r\n'
    return (head + content + b"\r\n") * parts + b"--B--\r\n"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_content_goes_to_disk_and_streamlit_sees_an_empty_file(store, step):
    whole = form(b"\r\n--C payload: 0\r\n")
    browser = Browser(store)
    chunks = [whole[start : start + step] for start in range(0, len(whole), step)]
    assert browser.send("PUT", *chunks) == 204
    assert store.find("session", "file").path.read_bytes() == b"\r\n--C payload: 0\r\n"
    assert browser.kept == form(b"")
    assert store.held_bytes() == 18
    assert browser.send("DELETE") == 204
    assert store.held_bytes() == 0


def test_a_refused_file_is_read_and_dropped_so_that_the_page_can_say_why(store):
    assert Browser(store).send("PUT", form(b"x" * 120)) == 204
    assert "at most" in store.find("session", "file").refused
    assert store.held_bytes() == 0


def test_the_cookie_is_the_visitor(store):
    Browser(store).send("PUT", form(b"x" * 10), cookie=ALICE)
    assert store.held_bytes(visitor_id({COOKIE: ALICE})) == 10


@pytest.mark.parametrize(
    ("status", "chunks", "options"),
    [
        (0, (form(b"x" * 30)[:50],), {"leaves": True}),
        (413, (form(b"x" * 51),), {}),
        (400, (form(b"x", parts=2),), {}),
        (400, (b"no form at all",), {}),
        (400, (b"x",), {"kind": "text/plain"}),
    ],
    ids=["gone", "too large", "two files", "no form", "no form's type"],
)
def test_an_upload_that_is_none_leaves_nothing(store, tmp_path, status, chunks, options):
    assert Browser(store, most=50).send("PUT", *chunks, **options) == status
    assert (store.find("session", "file"), store.held_bytes(), on_disk(tmp_path)) == (None, 0, 0)


def test_what_streamlit_refuses_is_not_kept(store, tmp_path):
    assert Browser(store, status=403).send("PUT", form(b"x" * 30)) == 403
    assert (store.held_bytes(), on_disk(tmp_path)) == (0, 0)
    Browser(store).send("PUT", form(b"x" * 30))
    Browser(store, status=403).send("DELETE")
    assert store.held_bytes() == 30
