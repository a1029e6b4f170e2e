"""The recipes for PyTorch in the documentation, run as they stand there."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core

ROOT = Path(core.__file__).parents[1]
DOCUMENTS = ("README.md", "core/study/README.md")
MARKS = r"<!-- torch recipe -->\s*```python\n(.*?)```\s*<!-- end of torch recipe -->"
LAYERS = ["layer1", "layer2", "layer3", "layer4"]


def recipe(name: str) -> str:
    blocks = re.findall(MARKS, (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1, (
        f"{name} must have one ```python block between the lines <!-- torch recipe --> and "
        f"<!-- end of torch recipe -->; found {len(blocks)}."
    )
    return blocks[0]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_a_short_recipe(name: str):
    code = recipe(name)
    compile(code, name, "exec")
    assert len(code.splitlines()) <= 5


@pytest.mark.torch
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_recipe_makes_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    if os.environ.get("REQUIRE_TORCH") != "1":
        pytest.importorskip("torch", reason="torch is not installed, and no requirement")
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    model = four_layers(torch)
    images, targets = torch.randn(50, 3, 8, 8), torch.arange(50) % 3
    images += targets[:, None, None, None] * 0.2
    loader = DataLoader(TensorDataset(images, targets), batch_size=16, shuffle=True)
    test_loader = DataLoader(TensorDataset(images[:9], targets[:9]), batch_size=16)
    monkeypatch.chdir(tmp_path)
    exec(recipe(name), {"model": model, "loader": loader, "test_loader": test_loader})
    study = core.load_study(tmp_path / "torch-study")
    assert "layer1" in capsys.readouterr().out
    assert study.state == "complete"
    train = study.samples[study.samples["split"] == "train"]
    assert train["label"].tolist() == targets.tolist()
    channels = dict(zip(study.layers["layer"], study.layers["channels"], strict=True))
    assert {layer: count for layer, count in channels.items() if layer in LAYERS}.items() <= {
        "layer1": 4,
        "layer2": 6,
        "layer3": 6,
        "layer4": 5,
    }.items()
    check_separation(torch, model, images, targets.numpy(), study)


def four_layers(torch: Any) -> Any:
    """A network with the names of a ResNet's stages: three that have space, and a last one that has none."""
    nn = torch.nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer1 = nn.Conv2d(3, 4, 3)
            self.layer2 = nn.Conv2d(4, 6, 3)
            self.layer3 = nn.Dropout(0.5)  # passes its input on, if only the network is set to evaluate
            self.layer4 = nn.Linear(6, 5)
            self.relu = nn.ReLU(inplace=True)  # overwrites what a hook has seen

        def forward(self, images: Any) -> Any:
            space = self.layer3(self.layer2(self.layer1(images)))
            return self.relu(self.layer4(space.mean(dim=(2, 3))))

    return Network()


def check_separation(torch: Any, model: Any, images: Any, labels: np.ndarray, study: core.Study) -> None:
    """Against the same layers called one after another, without hooks or batches."""
    model.eval()
    with torch.inference_mode():
        first = model.layer1(images)
        second = model.layer2(first)
        last = model.layer4(second.mean(dim=(2, 3)))
    means = {"layer1": first.mean(dim=(2, 3)), "layer2": second.mean(dim=(2, 3)), "layer4": last}
    rows = study.measurements.query("measure == 'separation' and split == 'train'")
    pooled = rows[(rows["pooling"] == "mean") | (rows["layer"] == "layer4")].set_index("layer")["value"]
    assert {layer: pooled[layer] for layer in means} == {
        layer: core.separation_index(mean, labels).value for layer, mean in means.items()
    }
