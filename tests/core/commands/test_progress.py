"""Progress for programs, and plans of features."""

import io
import json

import numpy as np
import pytest

from core.cli import main
from core.commands.terminal.progress import progress_on
from core.study.plan import Progress


def test_progress_as_json_is_one_object_a_line():
    stream = io.StringIO()
    report = progress_on(stream, "json")
    report(Progress("images", 0, 10, "images"))
    report(Progress("images", 10, 10, "images"))
    report.close()
    first, last = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first == {"stage": "images", "done": 0, "total": 10, "unit": "images", "left_s": None}
    assert last["done"] == 10


def test_a_plan_of_features_reads_each_layer_and_writes_nothing(tmp_path, capsys):
    features = tmp_path / "features.npz"
    np.savez(features, labels=np.arange(6) % 2, one=np.ones((6, 3)), two=np.ones((6, 2, 2)))
    out = tmp_path / "out"
    assert main(["measure", str(features), "--out", str(out), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["samples"], plan["classes"], plan["layers"]) == (6, 2, ["one", "two"])
    assert [row["bytes"] for row in plan["passes"]] == [4 * 6 * 3, 4 * 6 * 4]
    assert not out.exists()


def test_a_plan_of_features_names_what_is_broken(tmp_path, capsys):
    features = tmp_path / "features.npz"
    np.savez(features, labels=np.arange(6) % 2, one=np.full((6, 3), np.nan))
    assert main(["measure", str(features), "--dry-run"]) == 1
    assert "must hold finite numbers" in capsys.readouterr().err


def test_a_run_out_of_memory_says_what_to_do(monkeypatch, capsys):
    def exhaust(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("core.commands.measure.open_features", exhaust)
    assert main(["measure", "features.npy"]) == 1
    assert "Take fewer samples" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["yaml", ""])
def test_progress_is_text_or_json(how):
    with pytest.raises(SystemExit):
        main(["measure", "features.npy", f"--progress={how}"])
