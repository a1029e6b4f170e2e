"""The README's recipe for PyTorch, run as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core

README = Path(core.__file__).parents[1] / "README.md"
MARKS = r"<!-- torch recipe -->\s*```python\n(.*?)```\s*<!-- end of torch recipe -->"


def recipe() -> str:
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    blocks = re.findall(MARKS, text, re.DOTALL)
    assert len(blocks) == 1, (
        f"{README.name} must have one ```python block between the lines <!-- torch recipe --> and "
        f"<!-- end of torch recipe -->; found {len(blocks)}."
    )
    return blocks[0]


def test_the_readme_has_a_short_recipe():
    code = recipe()
    compile(code, README.name, "exec")
    assert len(code.splitlines()) <= 15


def test_the_recipe_makes_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch = pytest.importorskip("torch", reason="torch is not installed, and no requirement")
    torch.manual_seed(0)
    model = four_layers(torch)
    images, targets = torch.randn(50, 3, 8, 8), torch.arange(50) % 3
    images += targets[:, None, None, None] * 0.2
    data = torch.utils.data.TensorDataset(images, targets)
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    monkeypatch.chdir(tmp_path)
    exec(recipe(), {"model": model, "loader": loader})
    study = core.load_study(tmp_path / "my-study")
    assert study.state == "complete"
    assert study.samples["label"].tolist() == targets.tolist()
    assert study.layers["layer"].tolist() == ["layer1", "layer2", "layer3", "layer4"]
    assert study.layers["channels"].tolist() == [4, 6, 6, 5]
    check_separation(torch, model.eval(), images, targets.numpy(), study)


def four_layers(torch: Any) -> Any:
    """A network with the names of a ResNet's stages: three that have space, and a last one that has none."""
    nn = torch.nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer1 = nn.Conv2d(3, 4, 3)
            self.layer2 = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 6, 3))
            self.layer3 = nn.Dropout(0.5)  # passes its input on, if only the network is set to evaluate
            self.layer4 = nn.Linear(6, 5)
            self.relu = nn.ReLU(inplace=True)  # overwrites what a hook has seen

        def forward(self, images: Any) -> Any:
            space = self.layer3(self.layer2(self.layer1(images)))
            return self.relu(self.layer4(space.mean(dim=(2, 3))))

    return Network()


def check_separation(torch: Any, model: Any, images: Any, labels: np.ndarray, study: core.Study) -> None:
    """Against the same layers called one after another, without hooks or batches."""
    with torch.inference_mode():
        first = model.layer1(images)
        second = model.layer2(first)
        last = model.layer4(second.mean(dim=(2, 3)))
    means = [first.mean(dim=(2, 3)), second.mean(dim=(2, 3)), second.mean(dim=(2, 3)), last]
    rows = study.measurements.query("measure == 'separation'")
    assert rows["value"].tolist() == [core.separation_index(mean.numpy(), labels).value for mean in means]
