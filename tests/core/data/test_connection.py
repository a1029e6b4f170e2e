"""Which hosts can be reached: servers on this machine that answer, refuse and do not exist."""

import socket
import time
from collections.abc import Iterator

import pytest

from core.data.connection import check_hosts


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def answering() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_hosts_that_answer_and_that_do_not(answering: str, closed: str):
    addresses = [f"http://{answering}/a", f"https://{answering}/b", f"http://{closed}/c", "file:///d", "gs://e/f"]
    assert check_hosts(addresses) == {answering: "", closed: "Connection refused"}
    assert check_hosts([]) == {}


def test_a_name_that_does_not_exist():
    (reason,) = check_hosts(["https://no-such-host.invalid/file"]).values()
    assert reason


def test_a_name_whose_search_takes_long_is_given_up(monkeypatch: pytest.MonkeyPatch):
    def search(*args: object, **options: object) -> None:
        time.sleep(3)
        raise OSError("unknown")

    monkeypatch.setattr("socket.create_connection", search)
    start = time.monotonic()
    assert check_hosts(["http://slow.example/file"], timeout_s=0.2) == {"slow.example:80": "no answer within 0.2 s"}
    assert time.monotonic() - start < 2


def test_behind_a_proxy_the_proxy_counts(answering: str, closed: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", f"http://{answering}")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert check_hosts(["http://outside.example/file"]) == {answering: ""}
    assert check_hosts([f"https://{closed}/file"]) == {closed: "Connection refused"}  # there is no proxy for https
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert check_hosts([f"http://{closed}/file"]) == {closed: "Connection refused"}
