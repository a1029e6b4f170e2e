"""The notebook that reproduces the original work: executed as a stranger would, and small."""

import json
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

import core

NOTEBOOK = Path(__file__).resolve().parents[2] / "explorer" / "notebook" / "original_work.ipynb"
pytestmark = pytest.mark.slow


def executed(folder, monkeypatch, **settings):
    """Run the notebook in a folder, with other values in place of its settings."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for name, value in settings.items():
        cell = next(cell for cell in notebook.cells if f"\n{name} = " in f"\n{cell.source}")
        lines = [f"{name} = {value!r}" if line.startswith(f"{name} = ") else line for line in cell.source.splitlines()]
        cell.source = "\n".join(lines)
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[2]))
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def check(folder, num_classes, per_class, *, permuted):
    """What the notebook has written; at most layers its measure scores more than `permuted` on permuted labels."""
    before, after = (core.load_study(folder / "original-work" / name) for name in ("before", "after"))
    assert before.state == after.state == "complete"
    assert len(before.layers) == len(after.layers) == 60
    assert before.samples["class_name"].nunique() == num_classes
    assert len(before.samples) == per_class * num_classes
    rows = before.measurements
    true = rows[rows["measure"] == "center_in_sample"]
    separation = rows[(rows["measure"] == "separation") & (rows["sampling"] == "full")]
    assert (true["chance"] > permuted).mean() > 0.5
    np.testing.assert_allclose(separation["chance"], (per_class - 1) / (per_class * num_classes - 1))


def charts_in(notebook):
    """The charts among the outputs."""
    bundles = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return [bundle["image/svg+xml"] for bundle in bundles if "image/svg+xml" in bundle]


def test_it_runs_without_any_data(tmp_path, monkeypatch):
    notebook = executed(tmp_path, monkeypatch, HEAD_EPOCHS=1, TAIL_EPOCHS=1, DATA="digits")
    check(tmp_path, 10, 5, permuted=0.5)
    assert len(charts_in(notebook)) == 3


@pytest.mark.shared
def test_it_runs_on_real_photographs_of_dogs(tmp_path, monkeypatch, dogs_dir):
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "stanford_dogs_224").symlink_to(dogs_dir)
    folder = tmp_path / "project"
    folder.mkdir()
    notebook = executed(folder, monkeypatch, HEAD_EPOCHS=2, TAIL_EPOCHS=1)
    check(folder, 5, 10, permuted=0.9)
    history = core.FineTuned(folder / "original-work" / "tuned").history
    assert history["val_accuracy"].iloc[-1] > 0.5
    assert len(charts_in(notebook)) == 3


def test_it_is_stored_without_outputs_and_small():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    assert NOTEBOOK.stat().st_size < 20_000
