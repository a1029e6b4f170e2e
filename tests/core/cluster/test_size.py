"""The size of a cluster, and the dry run on it."""

import json
import sys

import pytest

from core.cli import main
from core.cluster import estimate
from core.cluster.connecting import connect
from core.cluster.estimate import ClusterSize, cluster_size

GIB = 1 << 30
STUDY = ["study", "digits", "--model", "pixels", "--per-class", "10", "--dry-run"]


def test_processes_that_are_not_there_yet_share_the_machine(monkeypatch):
    monkeypatch.setattr(estimate, "product_rate", lambda: 8e9)
    monkeypatch.setattr(estimate, "connect", lambda address: pytest.fail("started"))
    found = cluster_size("local:4:2GiB")
    assert (found.workers, found.worker_memory, found.rate) == (4, 2 * GIB, 2e9)


def test_workers_that_are_there_are_counted_and_timed():
    with connect("local:1:1GiB") as cluster:
        for same in (cluster, cluster.client, cluster.client.scheduler_info(n_workers=0)["address"]):
            found = cluster_size(same)
            assert (found.workers, found.worker_memory) == (1, GIB)
            assert 1e8 < found.rate < 1e15


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_counts_tasks_and_bytes_and_starts_nothing(tmp_path, monkeypatch, capsys, as_json):
    monkeypatch.setattr(
        "core.commands.study_plan.cluster_size", lambda address: ClusterSize(2, GIB, 1e9, "made up for a test")
    )
    command = [*STUDY, "--out", str(tmp_path / "study"), "--cluster", "tcp://somewhere:8786"]
    assert main([*command, *(["--json"] if as_json else [])]) == 0
    assert list(tmp_path.iterdir()) == []
    out = capsys.readouterr().out
    if as_json:
        plan = json.loads(out)
        found = plan["cluster"]
        assert (found["workers"], found["network_tasks"], found["tasks"]) == (2, 9, 3)  # 24 of 200 images a task
        assert found["storage_bytes"] == 200 * 64 * 4
        # within train, within test: 100 rows each; from test to train: both
        assert found["read_bytes"] == (100 + 100 + 200) * 64 * 4
        assert found["moved_bytes"] == 16 * 10 * (100 + 100 + 100)
        assert plan["estimated_s"] == 200**2 * 64 / 2e9
        assert (plan["passes"], plan["choice"]) == ([], None)
    else:
        assert "1 layer, mean, on 2 workers of 1,024 MiB:" in out
        assert "search: 3 tasks" in out
        assert "products at 2 × 1 GFLOP/s (made up for a test)" in out


@pytest.mark.parametrize(
    ("address", "message"),
    [("local:0", "at least one worker; got local:0"), ("somewhere", "cluster must be local:N")],
)
def test_a_dry_run_refuses_what_is_no_cluster(tmp_path, capsys, address, message):
    assert main([*STUDY, "--out", str(tmp_path), "--cluster", address]) == 2
    assert message in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*STUDY, "--out", str(tmp_path), "--cluster", "local:2"]) == 1
    assert "pip install -e '.[cluster]'" in capsys.readouterr().err
