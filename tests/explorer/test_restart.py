"""A public server that is killed: its runs go on, and the next one finds, shows and bounds them."""

import signal
import time

import pytest

from explorer.runs.background import jobs
from explorer.server.visitors import COOKIE
from tests.browser import serve
from tests.explorer.streamlit_client import session

VISITOR = f"{COOKIE}={'a' * 32}"


@pytest.fixture
def environ(tmp_path):
    """Of a small public server."""
    return {"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_STUDIES": str(tmp_path / "studies")}


def test_runs_and_uploads_of_a_killed_server_are_found_by_the_next_one(tmp_path, environ, another_works):
    studies = tmp_path / "studies"
    with another_works(studies):  # so that the run waits, for as long as it is looked at
        with serve(environ=environ) as (address, server), session(address, cookies=VISITOR) as client:
            client.open("new-study", "per_class=10")
            client.send({"show_plan": True})
            client.send({"start_run": True})
            (job,) = jobs.list_jobs(studies)
            number = jobs.process_id(job)
            server.send_signal(signal.SIGKILL)
            server.wait(30)
        left = studies / ".received" / "of the killed" / "file"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"x")
        with serve(environ=environ) as (address, _):
            assert not left.exists()
            with session(address) as stranger:
                stranger.open("new-study")
                assert not any("digits, pixels" in text for text in stranger.texts("markdown"))
            with session(address, cookies=VISITOR) as client:
                client.open("new-study", "per_class=9")
                assert any("digits, pixels" in text for text in client.texts("markdown"))
                assert jobs.process_id(job) == number
                client.send({"show_plan": True})
                client.send({"start_run": True})
                assert any("You already have an active run" in text for text in client.texts("alert"))
                client.open("new-study", f"run={job.id}")
                client.send({"stop_run": True})
                deadline = time.monotonic() + 60
                while not jobs.status(job).is_over:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
    assert jobs.status(job).state == "cancelled"
    assert [one.id for one in jobs.list_jobs(studies)] == [job.id]
