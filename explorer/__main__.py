"""python -m explorer: start the app, on studies of yours or on the bundled ones."""

import argparse
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from core.study.store.opening import StudyError, load_study

APP = Path(__file__).with_name("app.py")
LIBRARIES = ("streamlit", "altair")
INTERRUPTED = 130  # exit status after Ctrl-C, as of `python -m core`
EXAMPLES = """examples:
  python -m explorer                              # the bundled studies
  python -m explorer my-study
  python -m explorer before after                 # the first one opens; the page Compare offers the other one
  python -m explorer path/to/studies --port 8600 --no-browser
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the app, and return its exit status: 1 for studies or a port that it cannot have, 2 for wrong
    usage, 130 after Ctrl-C.
    """
    options = _make_parser().parse_args(arguments)
    try:
        _check_libraries()
        studies = find_studies(options.studies)
        if options.port is not None:
            _check_port(options.port)
    except (ValueError, ImportError, OSError) as error:  # StudyError is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 1
    return _serve(studies, options.port, opens_browser=options.browser)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m explorer",
        description="Start the app that shows studies, and open it in a browser. Ctrl-C ends it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "studies",
        nargs="*",
        metavar="STUDY",
        help="Folders of studies, or folders that hold folders of studies; the first one opens. Default: the bundled "
        "studies, which are offered in any case.",
    )
    parser.add_argument(
        "--port", type=_port, metavar="N", help="Port of the server. Default: 8501, or the next one that is free."
    )
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="Open no browser.")
    return parser


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 65535; got {text!r}.")
    return number


def _check_libraries() -> None:
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"the app needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed. Run: "
            f"{sys.executable} -m pip install {' '.join(missing)}"
        )


def find_studies(names: Sequence[str]) -> list[str]:
    """Return the studies that arguments name, as absolute paths, or as names of bundled studies.

    Parameters
    ----------
    names : sequence of str
        Folders of studies; folders that hold such folders, of which all are taken, in the order of their names; names
        of bundled studies, where there is no such folder.

    Raises
    ------
    StudyError
        Some are neither, or damaged; the message tells all of them.
    """
    studies: list[str] = []
    faults: list[str] = []
    for name in names:
        try:
            studies += _studies_of(name)
        except (StudyError, OSError) as error:
            faults.append(str(error))
        except RuntimeError:  # of `expanduser`
            faults.append(f"STUDY must be a folder; got {name!r}, and there is no such user. Write out the path.")
    if faults:
        raise StudyError(" ".join(faults))
    return list(dict.fromkeys(studies))


def _studies_of(name: str) -> list[str]:
    """The studies that one argument names."""
    from explorer.studies.loading import bundled_studies  # here, because it needs Streamlit

    folder = Path(name).expanduser().absolute()
    within = sorted(path.parent for path in folder.glob("*/study.json"))
    if not (folder / "study.json").exists() and within:
        return [str(path) for path in within]
    if not folder.exists() and name in bundled_studies():
        return [name]
    if folder.is_dir() and not (folder / "study.json").exists():
        raise StudyError(
            f"STUDY must be the folder of a study, or a folder of such folders; got {name!r}, which holds no "
            "study.json, nor does a folder in it. Give the folder that --out named, or make a study: python -m core "
            "study --help"
        )
    load_study(folder)
    return [str(folder)]


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise OSError(
                f"port must be one that is free; got {port}, which cannot be had ({error.strerror}). If the app runs "
                f"there already, it is at http://localhost:{port}; else choose another port, or leave --port out."
            ) from error


def _serve(studies: Sequence[str], port: int | None, *, opens_browser: bool) -> int:
    """Run Streamlit's server until it ends."""
    from click.exceptions import Abort
    from streamlit.web.cli import main as streamlit

    words = ["run", str(APP)]
    if port is not None:
        words.append(f"--server.port={port}")
    if not opens_browser:
        words.append("--server.headless=true")
    words.append("--")
    for study in studies:
        words += ["--study", study]
    try:
        streamlit(words, prog_name="streamlit", standalone_mode=False)
    except Abort:  # Ctrl-C
        return INTERRUPTED
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
