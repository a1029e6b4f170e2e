"""What happens before the server answers, and that it answers whatever happens."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit import cli_util, config

from explorer import serving

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was asked to open."""
    addresses = []
    monkeypatch.setattr(cli_util, "open_browser", addresses.append)
    return addresses


@pytest.fixture
def options():
    """Set options of the server as its command line does; they are as before afterwards."""
    before = {}

    def put(**values):
        for name, value in values.items():
            key = name.replace("_", ".", 1)
            before.setdefault(key, (config.get_option(key), config.get_where_defined(key)))
            config.set_option(key, value, "command-line argument or environment variable")

    yield put
    for key, (value, where) in before.items():
        config.set_option(key, value, where)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://localhost:8599"),
        ({"server_address": "127.0.0.1"}, "http://127.0.0.1:8599"),
        ({"server_address": "0.0.0.0"}, "http://localhost:8599"),
        ({"server_baseUrlPath": "/si/"}, "http://localhost:8599/si"),
        ({"server_address": "127.0.0.1", "browser_serverAddress": "si.example"}, "http://si.example:8599"),
    ],
)
def test_the_page_opens_where_the_server_s_options_say(opened, options, given, address):
    options(server_headless=False, server_port=8599, **given)
    serving.open_page()
    assert opened == [address]


def test_a_headless_server_opens_nothing(opened, options):
    options(server_headless=True)
    serving.open_page()
    assert opened == []


def test_a_warm_up_that_fails_keeps_no_server_from_answering(monkeypatch, caplog, opened, options):
    def fail(arguments):
        raise RuntimeError(f"no memory for {arguments}")

    async def start():
        async with serving.serving(None):
            return "answers"

    options(server_headless=True)
    monkeypatch.setattr(serving, "warm_up", fail)
    assert asyncio.run(start()) == "answers"
    assert "no memory" in caplog.text


def test_the_warm_up_loads_what_the_first_page_needs_and_no_tensorflow(tiny_study):
    code = """
import sys
from explorer.serving import warm_up
warm_up(["--study", sys.argv[1]])
before = set(sys.modules)
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("explorer/app_pages/layers/view.py", default_timeout=60).run()
assert not page.exception and page.title, page.exception
print(sorted(name for name in set(sys.modules) - before if name.startswith(("explorer", "altair", "pandas", "core."))))
print([name for name in ("tensorflow", "keras", "torch", "sklearn") if name in sys.modules])
"""
    command = [sys.executable, "-c", code, str(tiny_study)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_a_study_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises((ValueError, OSError)):
        serving.warm_up(["--study", str(tmp_path)])
