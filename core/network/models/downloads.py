"""Downloads into a cache folder: resumable, verified by hash, and moved into place atomically."""

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
CheckFile = Callable[[Path], None]


class DownloadError(OSError):
    """A file could not be downloaded; the message names its address and what to do."""


@dataclass(frozen=True)
class CachedFile:
    """A file in the cache, the address that it comes from, and the SHA-256 hash of its content."""

    path: Path
    address: str
    sha256: str


def cache_folder() -> Path:
    """Return the folder of downloaded files: SEPARATION_INDEX_CACHE, or by default ~/.cache/separation-index."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/separation-index").expanduser()


def cached_download(
    address: str,
    *,
    folder: Path | None = None,
    check: CheckFile | None = None,
    progress: ReportBytes | None = None,
    timeout_s: float = 30.0,
) -> CachedFile:
    """Return a file from the cache, after downloading it if necessary.

    Trust on first use: if no hash of the file is known, the hash of the first download is recorded beside it, as
    `<name>.sha256` in the format of sha256sum, and is required from then on. To require a hash that is known from
    elsewhere, write that file beforehand. A download that is interrupted leaves `<name>.part` where the next one can
    continue from there, if the file on the server has not changed; nothing else of a failed download stays. A file that
    was put into the cache by hand counts as downloaded.

    Parameters
    ----------
    address : str
        Address of the file; its last part is the name in the cache.
    folder : Path, optional
        Folder of the cache; default `cache_folder()`.
    check : callable, optional
        Called with the path of a file whose hash is not known yet; raises a ValueError if it is not what it must be,
        such as a page that a server sends in place of a file. A download of that kind is removed.
    progress : callable, optional
        Called with the number of bytes so far and the total number, which is 0 if the server does not report it.
    timeout_s : float
        Seconds to wait for data from the server.

    Returns
    -------
    CachedFile

    Raises
    ------
    DownloadError
        If there is no connection, the server returns an error or breaks off, the file does not have the recorded
        hash, or the folder cannot be written to.
    """
    folder = cache_folder() if folder is None else folder
    file = folder / Path(urlsplit(address).path).name
    recorded = _recorded_hash(file)
    is_new = not file.is_file()
    if is_new:
        _make_cache(folder)
        _fetch(address, file, progress, timeout_s)
    current = _part(file) if is_new else file
    sha256 = file_sha256(current)
    if recorded is not None and sha256 != recorded:
        if is_new:
            _delete_part(file)
            what, advice = "the downloaded file", "Nothing was kept"
        else:
            what, advice = str(file), "Delete it to download it again"
        raise DownloadError(
            f"{address} must have the SHA-256 hash {recorded}, recorded in {_hash_file(file)}; {what} has {sha256}. "
            f"{advice}; if the other file is right, delete the recorded hash first."
        )
    if recorded is None and check is not None:
        try:
            check(current)
        except ValueError as error:
            if not is_new:
                raise
            _delete_part(file)
            raise DownloadError(
                f"{address} does not send the file that it must: {_without_path(error, current)} Nothing was kept. Try "
                f"again later, or download it elsewhere and put it at {file} ({CACHE_VARIABLE} moves that folder)."
            ) from error
    if is_new:
        os.replace(current, file)
        _validator_file(file).unlink(missing_ok=True)
    if recorded is None:
        _write_atomically(_hash_file(file), f"{sha256}  {file.name}\n")
    return CachedFile(file, address, sha256)


def _make_cache(folder: Path) -> None:
    reason = "it may not be written to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        usable, reason = False, str(error.strerror).lower()
    if not usable:
        raise DownloadError(
            f"the folder of downloaded files must be one that can be written to; got {folder}: {reason}. Set the "
            f"environment variable {CACHE_VARIABLE} to another folder."
        )


def _without_path(error: ValueError, path: Path) -> str:
    """What is wrong with a downloaded file, without the name that it had meanwhile, and without advice."""
    return f"{str(error).replace(str(path), 'the file').split('. ')[0].rstrip('.')}."


def file_sha256(path: Path) -> str:
    """Return the SHA-256 hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _part(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


def _validator_file(file: Path) -> Path:
    """Return the file with the entity tag (ETag) of a part, which identifies the version of the file on the server."""
    return file.with_name(f"{file.name}.part.etag")


def _hash_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _delete_part(file: Path) -> None:
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
    temporary = path.with_name(f"{path.name}.tmp{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _fetch(address: str, file: Path, progress: ReportBytes | None, timeout_s: float) -> None:
    """Download the part file completely, continuing an earlier download if possible."""
    try:
        _fetch_part(address, file, progress, timeout_s)
    except BaseException:
        if not _resumable_bytes(file):
            _delete_part(file)
        raise


def _fetch_part(address: str, file: Path, progress: ReportBytes | None, timeout_s: float) -> None:
    with _explain_failure(address, file):
        start = _resumable_bytes(file)
        try:
            _transfer(address, file, start, progress, timeout_s)
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
                raise
            _delete_part(file)  # the part is longer than the file on the server
            _transfer(address, file, 0, progress, timeout_s)


def _resumable_bytes(file: Path) -> int:
    """Return the length of a part whose version is known, else 0: without the version it cannot be continued."""
    if _part(file).is_file() and _validator_file(file).is_file():
        return _part(file).stat().st_size
    return 0


def _transfer(address: str, file: Path, start: int, progress: ReportBytes | None, timeout_s: float) -> None:
    headers = {"User-Agent": "separation-index-explorer", "Accept-Encoding": "identity"}
    if start:
        # The server sends the remaining bytes if the file is unchanged, otherwise the whole new file.
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
    """Compare a download with the MD5 hash that Google's storage sends, to detect damage on the way."""
    match = re.search(r"\bmd5=([\w+/]+=*)", ",".join(headers.get_all("x-goog-hash", [])))
    if match is None:
        return
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    if base64.b64encode(digest).decode() != match[1]:
        part.unlink()
        raise http.client.HTTPException("the downloaded file does not have the hash that the server states")


@contextmanager
def _explain_failure(address: str, file: Path) -> Iterator[None]:
    """Turn all failures of a transfer into a DownloadError that says what to do."""
    try:
        yield
    except urllib.error.HTTPError as error:
        reason = f"the server answered {error.code} {error.reason}"
        error.close()
        raise DownloadError(_failure_message(address, file, reason)) from error
    except http.client.IncompleteRead as error:
        reason = f"the connection broke off with {error.expected:,} bytes to go" if error.expected else str(error)
        resumes = _resumable_bytes(file) > 0
        raise DownloadError(_failure_message(address, file, reason, resumes=resumes)) from error
    except urllib.error.URLError as error:
        raise DownloadError(_failure_message(address, file, str(error.reason))) from error
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise DownloadError(_failure_message(address, file, reason, resumes=_resumable_bytes(file) > 0)) from error


def _failure_message(address: str, file: Path, reason: str, *, resumes: bool = False) -> str:
    again = "Try again: the download continues where it stopped" if resumes else "Try again later"
    return (
        f"{address} could not be downloaded: {reason}. {again}, or download it elsewhere and put it at {file} "
        f"({CACHE_VARIABLE} moves that folder)."
    )
