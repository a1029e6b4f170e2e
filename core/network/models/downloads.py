"""Files from the internet, kept in a cache folder: resumed where they stopped, checked, put in place in one step."""

import base64
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CACHE_VARIABLE = "SEPARATION_INDEX_CACHE"
_CHUNK_BYTES = 1 << 18

ReportBytes = Callable[[int, int], None]


class DownloadError(OSError):
    """A file could not be had; the message names its address and what to do."""


@dataclass(frozen=True)
class CachedFile:
    """A file in the cache: where it lies, where it came from, and the hash of what it holds."""

    path: Path
    address: str
    sha256: str


def cache_folder() -> Path:
    """The folder of downloaded files: what SEPARATION_INDEX_CACHE names, else ~/.cache/separation-index."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/separation-index").expanduser()


def cached_download(
    address: str,
    *,
    folder: Path | None = None,
    progress: ReportBytes | None = None,
    timeout_s: float = 30.0,
) -> CachedFile:
    """Return a file from the cache, after downloading it where it is not there yet.

    Trust on first use: where the cache knows no hash of the file, the one of what came is recorded beside it, as
    `<name>.sha256` in the format of sha256sum, and everything later must agree with it. To pin a hash that is known
    from elsewhere, write that file beforehand. A download that breaks off leaves `<name>.part`, and the next one goes
    on from there, if the server still has the same file. A file put into the cache by hand counts as downloaded.

    Parameters
    ----------
    address : of the file; its last part is the name in the cache.
    folder : of the cache; default `cache_folder()`.
    progress : told the bytes there are and the bytes in all, 0 where the server does not say.
    timeout_s : how long the server may stay silent.

    Raises
    ------
    DownloadError
        There is no connection, the server refuses or breaks off, or the file has another hash than the recorded one.
    """
    folder = cache_folder() if folder is None else folder
    file = folder / Path(urlsplit(address).path).name
    known = _recorded_hash(file)
    fetched = not file.is_file()
    if fetched:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(address, file, progress, timeout_s)
    origin = _part(file) if fetched else file
    found = file_sha256(origin)
    if known is not None and found != known:
        if fetched:
            _forget_part(file)
        what, advice = ("what came", "Nothing was kept") if fetched else (file, "Delete it to download it again")
        raise DownloadError(
            f"{address} must have the SHA-256 hash {known}, recorded in {_hash_file(file)}; {what} has {found}. "
            f"{advice}; if the other file is right, delete the recorded hash first."
        )
    if fetched:
        os.replace(origin, file)
        _validator_file(file).unlink(missing_ok=True)
    if known is None:
        _write_atomically(_hash_file(file), f"{found}  {file.name}\n")
    return CachedFile(file, address, found)


def file_sha256(path: Path) -> str:
    """The SHA-256 hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _part(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


def _validator_file(file: Path) -> Path:
    """Holds what tells the server's version of a part from others: its entity tag."""
    return file.with_name(f"{file.name}.part.etag")


def _hash_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _forget_part(file: Path) -> None:
    _part(file).unlink(missing_ok=True)
    _validator_file(file).unlink(missing_ok=True)


def _recorded_hash(file: Path) -> str | None:
    path = _hash_file(file)
    if not path.is_file():
        return None
    match = re.match(r"[0-9a-f]{64}\b", path.read_text(encoding="utf-8", errors="replace"))
    if match is None:
        raise DownloadError(f"{path} must begin with a SHA-256 hash; it does not. Correct or delete it.")
    return match[0]


def _write_atomically(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.tmp{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _fetch(address: str, file: Path, progress: ReportBytes | None, timeout_s: float) -> None:
    """Bring the part to its full length, from where it stands or from the start."""
    with _explained(address, file):
        start = _resumable_bytes(file)
        try:
            _transfer(address, file, start, progress, timeout_s)
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
                raise
            _forget_part(file)  # it is longer than the file
            _transfer(address, file, 0, progress, timeout_s)


def _resumable_bytes(file: Path) -> int:
    """Length of a part whose version is known; others are of no use."""
    if _part(file).is_file() and _validator_file(file).is_file():
        return _part(file).stat().st_size
    return 0


def _transfer(address: str, file: Path, start: int, progress: ReportBytes | None, timeout_s: float) -> None:
    headers = {"User-Agent": "separation-index-explorer", "Accept-Encoding": "identity"}
    if start:
        # The rest of this very version, or else all of the new one.
        headers |= {"Range": f"bytes={start}-", "If-Range": _validator_file(file).read_text(encoding="utf-8")}
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0
        elif not str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-"):
            raise http.client.HTTPException(f"it sent the range {response.headers.get('Content-Range')}")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else 0
        _remember_version(file, response.headers)
        done = _append(response, _part(file), start, total, progress)
        if done < total:
            raise http.client.IncompleteRead(b"", total - done)
        _check_md5(_part(file), response.headers)


def _remember_version(file: Path, headers: Message) -> None:
    tag = headers.get("ETag", "")
    if tag and not tag.startswith("W/"):  # a weak tag does not promise the same bytes
        _write_atomically(_validator_file(file), tag)
    else:
        _validator_file(file).unlink(missing_ok=True)


def _append(response: Any, part: Path, start: int, total: int, progress: ReportBytes | None) -> int:
    done = start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
        file.truncate()
    return done


def _check_md5(part: Path, headers: Message) -> None:
    """Google's storage says what hash the file has there: it finds what a network damaged."""
    match = re.search(r"\bmd5=([\w+/]+=*)", ",".join(headers.get_all("x-goog-hash", [])))
    if match is None:
        return
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    if base64.b64encode(digest).decode() != match[1]:
        part.unlink()
        raise http.client.HTTPException("what came has another hash than the server states")


@contextmanager
def _explained(address: str, file: Path) -> Iterator[None]:
    """Every failure of a transfer as one error that says what to do."""
    try:
        yield
    except urllib.error.HTTPError as error:
        reason = f"the server answered {error.code} {error.reason}"
        error.close()
        raise DownloadError(_advice(address, file, reason)) from error
    except http.client.IncompleteRead as error:
        reason = f"the connection broke off with {error.expected:,} bytes to go" if error.expected else str(error)
        raise DownloadError(_advice(address, file, reason, resumes=True)) from error
    except urllib.error.URLError as error:
        raise DownloadError(_advice(address, file, str(error.reason))) from error
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise DownloadError(_advice(address, file, reason, resumes=_resumable_bytes(file) > 0)) from error


def _advice(address: str, file: Path, reason: str, *, resumes: bool = False) -> str:
    again = "Try again: it goes on where it stopped" if resumes else "Try again later"
    return (
        f"{address} could not be downloaded: {reason}. {again}, or download it elsewhere and put it at {file} "
        f"({CACHE_VARIABLE} moves that folder)."
    )
