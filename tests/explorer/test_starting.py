"""python -m explorer: which studies it opens, what it refuses, and that it runs from any folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from explorer import __main__ as starting
from explorer.runs.study_list import known_studies, known_title
from explorer.studies.loading import DEMO, started_studies
from tests.browser import ROOT, wait_for_server
from tests.documents import commands

START = [sys.executable, "-m", "explorer"]


@pytest.fixture
def folder(tiny_study, study_writer, sized_info, monkeypatch):
    """The working folder: a study `tiny`, and `several` with two more."""
    study_writer(tiny_study.parent / "several" / "before", **sized_info)
    study_writer(tiny_study.parent / "several" / "after", **sized_info)
    (tiny_study.parent / "empty").mkdir()
    monkeypatch.chdir(tiny_study.parent)
    return tiny_study.parent


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["tiny"], ["tiny"]),
        (["several"], ["several/after", "several/before"]),
        (["several/before", "tiny", "several"], ["several/before", "tiny", "several/after"]),
        (["tiny/../tiny"], ["tiny/../tiny"]),
    ],
)
def test_folders_of_studies(folder, names, expected):
    assert starting.find_studies(names) == [str(folder / name) for name in expected]


def test_a_bundled_study_has_a_name_unless_a_folder_has_it(folder):
    assert starting.find_studies(["digits"]) == ["digits"]
    shutil.copytree(folder / "tiny", folder / "digits")
    assert starting.find_studies(["digits"]) == [str(folder / "digits")]
    assert starting.find_studies([str(DEMO / "ranking")])[0] == str(DEMO / "ranking" / "efficientnet-lite0")


def test_all_that_are_no_studies_are_told(folder, capsys):
    (folder / "several" / "after" / "study.json").write_text("{")
    assert starting.main(["tiny", "empty", "nowhere", "several/after", "~nobody-of-this-name/study"]) == 1
    error = capsys.readouterr().err
    assert "STUDY must be the folder of a study, or a folder of such folders; got 'empty'" in error
    assert f"{folder / 'nowhere'} must be a study folder with a study.json; got no such folder" in error
    assert f"study.json in {folder / 'several' / 'after'}" in error
    assert "got '~nobody-of-this-name/study', and there is no such user. Write out the path." in error
    assert "tiny" not in error.replace(str(folder), "")


def test_the_command_of_the_readme_opens_the_study(folder):
    documents = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "explorer/README.md")]
    typed = [words for text in documents for _, words in commands(text, "python -m explorer")]
    assert ["my-study"] in typed
    (folder / "tiny").rename(folder / "my-study")
    for words in typed:
        options = starting._make_parser().parse_args(words)
        assert starting.find_studies(options.studies) == [str(folder / "my-study")] * len(options.studies)


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_wrong_usage(port, capsys):
    with pytest.raises(SystemExit) as stopped:
        starting.main(["--port", port])
    assert stopped.value.code == 2
    assert "must be a whole number from 1 to 65535" in capsys.readouterr().err


def test_a_port_in_use_is_told(capsys):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        assert starting.main(["--port", str(port)]) == 1
    assert f"got {port}, which cannot be had (Address already in use)" in capsys.readouterr().err


def test_without_streamlit_its_installation_is_named(monkeypatch, capsys):
    monkeypatch.setattr(starting, "find_spec", lambda name: None if name == "streamlit" else name)
    assert starting.main([]) == 1
    assert "the app needs streamlit, which is not installed" in (error := capsys.readouterr().err)
    assert error.rstrip().endswith("-m pip install streamlit")


def test_the_examples_of_the_help_parse():
    lines = [line for line in starting.EXAMPLES.splitlines() if line.strip().startswith("python")]
    for line in lines:
        words = line.partition("#")[0].split()[3:]
        starting._make_parser().parse_args(words)
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (["--study", "a", "--study", "b", "--study", "a"], {}, ("a", "b")),
        (["--study", "a"], {"SI_EXPLORER_STUDY": "b"}, ("a",)),
        ([], {"SI_EXPLORER_STUDY": "b"}, ("b",)),
        (["--study"], {}, ()),
    ],
)
def test_the_studies_of_the_server_s_command_line(arguments, environ, expected):
    assert started_studies(arguments, environ) == expected


def test_studies_of_equal_folder_names_are_told_apart(folder, monkeypatch):
    shutil.copytree(folder / "tiny", folder / "several" / "tiny")
    paths = [str(folder / name) for name in ("tiny", "several/tiny", "several/after")]
    monkeypatch.setattr(sys, "argv", ["app.py", *(word for path in paths for word in ("--study", path))])
    known = known_studies()
    assert list(known)[:3] == paths
    titles = [known_title(path, known).split(" · ")[0] for path in paths]
    assert titles == [f"{folder.name}/tiny", "several/tiny", "after"]


@contextmanager
def started(*arguments: str, cwd: Path):
    """Address and process of an app that `python -m explorer` serves; the project is importable as if installed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SI_EXPLORER")}
    with (cwd / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*START, *arguments, "--port", str(port), "--no-browser"],
            cwd=cwd,
            env=environ | {"PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
        try:
            wait_for_server(f"http://127.0.0.1:{port}/_stcore/health", server)
            yield f"http://127.0.0.1:{port}", server
        finally:
            server.terminate()
            server.wait(timeout=20)


@pytest.mark.browser
def test_from_another_folder_a_browser_sees_the_studies(page, folder):
    with started("tiny", "several", cwd=folder) as (address, _):
        page.goto(address)
        expect(page.locator("svg.marks").first).to_contain_text("block2a_conv", timeout=60_000)
        picker = page.get_by_role("combobox", name="Study")
        expect(picker).to_have_value(re.compile("^tiny · "))
        color = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        assert color == "rgb(255, 255, 255)"
        expect(page.get_by_role("button", name="Deploy")).to_have_count(0)  # the app's own configuration is read
        picker.click()
        page.get_by_role("option", name=re.compile("^before · ")).click()
        expect(page).to_have_url(re.compile("study=.*before"), timeout=60_000)
        expect(page.locator("svg.marks").first).to_be_visible(timeout=60_000)
        page.get_by_test_id("stTopNavLink").filter(has_text="Compare").click()
        expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=60_000)


def test_ctrl_c_ends_it_without_a_traceback(folder):
    with started("tiny", cwd=folder) as (_, server):
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 130
    assert "Traceback" not in (folder / "server.log").read_text()


def test_a_folder_that_is_no_study_ends_it(folder):
    done = subprocess.run(
        [*START, "empty"], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: STUDY must be the folder of a study")
