"""What a visitor may do when the app is open to the public, and where the app keeps the studies it computes.

`SI_EXPLORER_PUBLIC=1` takes every path of the server out of reach; locally all is open to the person at the keyboard.
`SI_EXPLORER_MEMORY`, such as 4GiB, says how much memory the server has; `SI_EXPLORER_STUDIES` where runs are kept.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
# Importing TensorFlow takes 620 to 670 MB, the pages up to 690 MB, and a network's activations what is left.
NETWORK_BYTES = 3 << 29
SESSION_BYTES = 11_000_000  # of the server's for each tab, which takes 0.2 to 1.2 MB; the rest is for all of them
KEEP_S = 24 * 3600  # runs of visitors, and what they uploaded


@dataclass(frozen=True)
class Limits:
    """What a run and an upload may be.

    Attributes
    ----------
    public : whether strangers use this server.
    sessions : browser tabs that may be connected at the same time; None for no limit.
    networks : whether runs may load TensorFlow.
    upload_bytes, uploads : of the uploaded files of a visitor together, and their number.
    all_upload_bytes : of the uploaded files of all visitors together; None for no limit.
    disk_bytes : of all that the server keeps: uploads, runs and what was removed; None for no limit.
    visitor_bytes : of a visitor's runs with their uploads; None for no limit.
    plans : that may be made at the same time; None for no limit.
    unpacked_bytes, files : of an archive's content.
    samples, layers : of a run.
    memory_bytes : for the activations of a pass; None leaves it to the run.
    process_bytes : that a run's process may allocate, where it loads no network; None for no limit.
    run_s : seconds that a run may take; None for no end.
    waiting : runs that may wait in line for the one that works; None lets all start at once.
    """

    public: bool
    sessions: int | None
    networks: bool
    upload_bytes: int
    uploads: int
    all_upload_bytes: int | None
    disk_bytes: int | None
    visitor_bytes: int | None
    plans: int | None
    unpacked_bytes: int
    files: int
    samples: int | None
    layers: int | None
    memory_bytes: int | None
    process_bytes: int | None
    run_s: float | None
    waiting: int | None


def limits(environ: Mapping[str, str] = os.environ) -> Limits:
    """The limits that hold on this server.

    Raises
    ------
    ValueError
        SI_EXPLORER_MEMORY is no number of bytes.
    """
    if not is_public(environ):
        return Limits(
            public=False,
            sessions=None,
            networks=True,
            upload_bytes=4096 * MIB,
            uploads=5_000,
            all_upload_bytes=None,
            disk_bytes=None,
            visitor_bytes=None,
            plans=None,
            unpacked_bytes=16384 * MIB,
            files=200_000,
            samples=None,
            layers=None,
            memory_bytes=None,
            process_bytes=None,
            run_s=None,
            waiting=None,
        )
    from core.study.plan import parse_bytes  # not for every page

    granted = parse_bytes(environ.get("SI_EXPLORER_MEMORY") or "690MB")
    return Limits(
        public=True,
        sessions=max(1, granted // SESSION_BYTES),
        networks=granted >= NETWORK_BYTES,
        upload_bytes=100 * MIB,
        uploads=200,
        all_upload_bytes=500 * MIB,
        disk_bytes=2048 * MIB,
        visitor_bytes=500 * MIB,
        plans=2 if granted < NETWORK_BYTES else max(1, granted // (2 * NETWORK_BYTES)),
        unpacked_bytes=200 * MIB,
        files=5_000,
        samples=5_000,
        layers=100,
        memory_bytes=128 * MIB if granted < NETWORK_BYTES else granted // 4,
        process_bytes=768 * MIB,
        run_s=600,
        waiting=5,
    )


def is_public(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether strangers use this server."""
    return environ.get("SI_EXPLORER_PUBLIC", "").strip().lower() not in ("", "0", "false", "no")


def studies_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where runs are kept: `studies` where the app was started; in public among the temporary files."""
    if asked := environ.get("SI_EXPLORER_STUDIES"):
        return Path(asked).expanduser().resolve()
    return Path(tempfile.gettempdir()) / "separation-index-explorer" if is_public(environ) else Path.cwd() / "studies"
