"""Downloads from a server on this machine that sends ranges, and misbehaves in the ways that servers do."""

import base64
import hashlib
import http.server
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.network.models.downloads import CACHE_VARIABLE, DownloadError, cache_folder, cached_download, file_sha256

CONTENT = np.random.default_rng(0).bytes(1_000_000)
HASH = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file. The attributes say how it misbehaves; `ranges` records what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag = CONTENT, '"v1"'
        self.status = 0  # answered instead of the file
        self.stop_after = 10**9  # bytes of an answer, before the connection closes
        self.knows_ranges, self.says_length, self.md5_of = True, True, b""
        self.ranges: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/folder/weights.tar.gz?version=1"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.ranges.append(asked)
        if server.status:
            self.send_error(server.status)
            return
        start = 0
        if asked and server.knows_ranges and self.headers["If-Range"] == server.tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(server.content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.says_length:
            self.send_header("Content-Length", str(len(server.content) - start))
        if server.tag:
            self.send_header("ETag", server.tag)
        if server.md5_of:
            self.send_header("x-goog-hash", "crc32c=AAAAAA==")
            self.send_header("x-goog-hash", f"md5={base64.b64encode(hashlib.md5(server.md5_of).digest()).decode()}")
        self.end_headers()
        self.wfile.write(server.content[start:][: server.stop_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def break_off(server: Server, folder: Path, num_bytes: int = 400_000) -> None:
    """A first try that stops in the middle."""
    server.stop_after = num_bytes
    with pytest.raises(DownloadError):
        cached_download(server.address, folder=folder)
    server.stop_after = 10**9


def test_the_cache_folder_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert cache_folder() == Path.home() / ".cache" / "separation-index"


def test_a_download_with_its_progress(server, tmp_path):
    seen: list[tuple[int, int]] = []
    file = cached_download(server.address, folder=tmp_path / "new", progress=lambda *now: seen.append(now))
    assert (file.path.read_bytes(), file.sha256, file.address) == (CONTENT, HASH, server.address)
    assert names(tmp_path / "new") == ["weights.tar.gz", "weights.tar.gz.sha256"]
    assert file.path.with_name("weights.tar.gz.sha256").read_text() == f"{HASH}  weights.tar.gz\n"
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_cached_file_is_not_downloaded_again(server, tmp_path):
    first = cached_download(server.address, folder=tmp_path)
    assert cached_download(server.address, folder=tmp_path) == first
    assert len(server.ranges) == 1


def test_a_file_put_there_by_hand_counts(server, tmp_path):
    (tmp_path / "weights.tar.gz").write_bytes(CONTENT)
    assert cached_download(server.address, folder=tmp_path).sha256 == HASH
    assert server.ranges == []
    assert HASH in (tmp_path / "weights.tar.gz.sha256").read_text()


@pytest.mark.parametrize("says_length", [True, False])
def test_a_server_that_does_not_say_how_long(says_length, server, tmp_path):
    server.says_length, server.tag = says_length, ""
    assert cached_download(server.address, folder=tmp_path).sha256 == HASH


def test_a_truncated_download_is_an_error_and_goes_on_where_it_stopped(server, tmp_path):
    server.stop_after = 400_000
    with pytest.raises(
        DownloadError, match=r"broke off with 600,000 bytes to go\. Try again: the download continues where it"
    ):
        cached_download(server.address, folder=tmp_path)
    assert names(tmp_path) == ["weights.tar.gz.part", "weights.tar.gz.part.etag"]
    server.stop_after = 10**9
    seen: list[tuple[int, int]] = []
    assert cached_download(server.address, folder=tmp_path, progress=lambda *now: seen.append(now)).sha256 == HASH
    assert server.ranges == [None, "bytes=400000-"]
    assert seen[0][0] > 400_000
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert names(tmp_path) == ["weights.tar.gz", "weights.tar.gz.sha256"]


@pytest.mark.parametrize("what", ["another version", "no ranges", "no version was known", "a part too long"])
def test_a_part_that_cannot_be_resumed_is_replaced(what, server, tmp_path):
    break_off(server, tmp_path)
    if what == "another version":
        server.content, server.tag = CONTENT[::-1], '"v2"'
    elif what == "no ranges":
        server.knows_ranges = False
    elif what == "no version was known":
        (tmp_path / "weights.tar.gz.part.etag").unlink()
    else:
        (tmp_path / "weights.tar.gz.part").write_bytes(CONTENT + b"more")
    assert cached_download(server.address, folder=tmp_path).path.read_bytes() == server.content


def test_a_server_without_a_version_never_resumes(server, tmp_path):
    server.tag = 'W/"weak"'
    break_off(server, tmp_path)
    assert cached_download(server.address, folder=tmp_path).sha256 == HASH
    assert server.ranges == [None, None]


def test_a_download_must_have_the_recorded_hash(server, tmp_path):
    (tmp_path / "weights.tar.gz.sha256").write_text(f"{'0' * 64}  weights.tar.gz\n")
    with pytest.raises(
        DownloadError, match=rf"hash 0{{64}}, recorded in .*the downloaded file has {HASH}.*Nothing was kept"
    ):
        cached_download(server.address, folder=tmp_path)
    assert names(tmp_path) == ["weights.tar.gz.sha256"]


def test_a_cached_file_that_changed_is_an_error_and_stays(server, tmp_path):
    path = cached_download(server.address, folder=tmp_path).path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=rf"{re.escape(str(path))} has .*Delete it to download it again"):
        cached_download(server.address, folder=tmp_path)
    assert path.read_bytes() == CONTENT[:-1]


def test_a_record_that_is_no_hash(server, tmp_path):
    (tmp_path / "weights.tar.gz.sha256").write_text("nonsense")
    with pytest.raises(DownloadError, match=r"sha256 must begin with a SHA-256 hash"):
        cached_download(server.address, folder=tmp_path)


@pytest.mark.parametrize("right", [True, False])
def test_the_hash_that_google_states_is_checked(right, server, tmp_path):
    server.md5_of = CONTENT if right else b"other"
    if right:
        assert cached_download(server.address, folder=tmp_path).sha256 == HASH
        return
    with pytest.raises(DownloadError, match="not have the hash that the server states"):
        cached_download(server.address, folder=tmp_path)
    assert "weights.tar.gz.part" not in names(tmp_path)


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (403, "403 Forbidden"), (503, "503 Service")])
def test_a_server_that_refuses(status, reason, server, tmp_path):
    server.status = status
    with pytest.raises(DownloadError, match=reason) as caught:
        cached_download(server.address, folder=tmp_path)
    assert names(tmp_path) == []
    for part in (server.address, str(tmp_path / "weights.tar.gz"), CACHE_VARIABLE):
        assert part in str(caught.value)


def test_nothing_stays_of_a_download_that_cannot_go_on(server, tmp_path):
    """Without a version of the file, a part of it cannot be continued."""
    server.tag, server.stop_after = "", 400_000
    with pytest.raises(DownloadError, match=r"bytes to go\. Try again later, or download it elsewhere"):
        cached_download(server.address, folder=tmp_path)
    assert names(tmp_path) == []


def not_a_page(path: Path) -> None:
    if path.read_bytes().startswith(b"<html>"):
        raise ValueError(f"{path} must be an archive; it is damaged. Delete it.")


def test_nothing_stays_of_a_download_of_something_else(server, tmp_path):
    """As the page of a network that wants a password first."""
    server.content = b"<html>Sign in</html>"
    with pytest.raises(DownloadError, match=r"the file must be an archive; it is damaged\. Nothing was kept") as caught:
        cached_download(server.address, folder=tmp_path, check=not_a_page)
    assert ".part" not in str(caught.value)
    assert names(tmp_path) == []
    server.content = CONTENT
    assert cached_download(server.address, folder=tmp_path, check=not_a_page).sha256 == HASH


def test_a_wrong_file_put_there_by_hand_is_told_and_its_hash_is_not_recorded(server, tmp_path):
    (tmp_path / "weights.tar.gz").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"weights\.tar\.gz must be an archive"):
        cached_download(server.address, folder=tmp_path, check=not_a_page)
    assert names(tmp_path) == ["weights.tar.gz"]
    assert server.ranges == []


def test_a_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    told = rf"the folder of downloaded files must be .*got {tmp_path}/file/cache: .*{CACHE_VARIABLE} to another"
    with pytest.raises(DownloadError, match=told):
        cached_download(server.address, folder=tmp_path / "file" / "cache")
    assert server.ranges == []


def test_no_server_at_all(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/weights.tar.gz"
    with pytest.raises(DownloadError, match=r"could not be downloaded: .*refused.*put it at"):
        cached_download(address, folder=tmp_path)


def test_a_server_that_falls_silent(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.tar.gz"
        with pytest.raises(DownloadError, match="timed out"):
            cached_download(address, folder=tmp_path, timeout_s=0.2)


def test_the_hash_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
