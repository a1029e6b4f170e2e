"""Limits of a server that is open to the public, and the folder where computed studies are stored.

`SI_EXPLORER_PUBLIC=1` turns the public mode on: visitors cannot reach any path of the server. Without it there are no
limits. `SI_EXPLORER_MEMORY`, such as 4GiB, sets how much memory the server has; `SI_EXPLORER_STUDIES` sets the folder
of the studies.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
FOLDER_SETTING = "SI_EXPLORER_STUDIES"
# Networks are allowed from this much memory on: importing TensorFlow takes 620 to 670 MB and the pages up to 690 MB;
# the rest is for activations.
NETWORK_BYTES = 3 << 29
# Memory of the server for each connected tab. A tab itself takes 0.2 to 1.2 MB; the rest is its share of the pages.
SESSION_BYTES = 11_000_000
KEEP_S = 24 * 3600  # for which visitors' runs and uploads are kept


@dataclass(frozen=True)
class Limits:
    """Upper limits of sessions, uploads and runs.

    Attributes
    ----------
    public : bool
        Whether the server is open to the public.
    sessions : int or None
        Browser tabs connected at the same time; None for no limit.
    networks : bool
        Whether runs may load TensorFlow.
    upload_bytes : int
        Total size of one visitor's uploaded files.
    uploads : int
        Number of one visitor's uploaded files.
    all_upload_bytes : int or None
        Total size of all visitors' uploaded files; None for no limit.
    disk_bytes : int or None
        Total size of uploads, runs and trash; None for no limit.
    visitor_bytes : int or None
        Total size of one visitor's runs and their uploads; None for no limit.
    plans : int or None
        Plans that are made at the same time; None for no limit.
    unpacked_bytes : int
        Total size of the files in an archive.
    files : int
        Number of files in an archive.
    samples : int or None
        Samples of a run; None for no limit.
    layers : int or None
        Layers of a run; None for no limit.
    memory_bytes : int or None
        Memory for the activations of one pass; None leaves the choice to the run.
    process_bytes : int or None
        Memory that a run's process may allocate if it loads no network; None for no limit.
    run_s : float or None
        Seconds that a run may take; None for no limit.
    waiting : int or None
        Runs that may wait while one works; None starts every run at once.
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
    """The limits of this server.

    Parameters
    ----------
    environ : mapping
        Environment variables.

    Raises
    ------
    ValueError
        If SI_EXPLORER_MEMORY is no number of bytes.
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
    from core.study.plan import parse_bytes  # here, because most pages never need it

    server_bytes = parse_bytes(environ.get("SI_EXPLORER_MEMORY") or "690MB")
    networks = server_bytes >= NETWORK_BYTES
    return Limits(
        public=True,
        sessions=max(1, server_bytes // SESSION_BYTES),
        networks=networks,
        upload_bytes=100 * MIB,
        uploads=200,
        all_upload_bytes=500 * MIB,
        disk_bytes=2048 * MIB,
        visitor_bytes=500 * MIB,
        plans=max(1, server_bytes // (2 * NETWORK_BYTES)) if networks else 2,
        unpacked_bytes=200 * MIB,
        files=5_000,
        samples=5_000,
        layers=100,
        memory_bytes=server_bytes // 4 if networks else 128 * MIB,
        process_bytes=768 * MIB,
        run_s=600,
        waiting=5,
    )


def is_public(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the server is open to the public."""
    return environ.get("SI_EXPLORER_PUBLIC", "").strip().lower() not in ("", "0", "false", "no")


def studies_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the runs: by default `studies` in the working folder; in public a temporary folder."""
    if folder := environ.get(FOLDER_SETTING):
        return Path(folder).expanduser().resolve()
    if is_public(environ):
        return Path(tempfile.gettempdir()) / "separation-index-explorer"
    return Path.cwd() / "studies"
