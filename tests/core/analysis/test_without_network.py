"""Studies without a network to load: why, and how a PyTorch network is cut after a layer of its study."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import core
from core.analysis.cut.blocks import cannot_verify
from core.analysis.cut.without_network import torch_cut_lines, why_no_network
from core.cli import main

DEMO = Path(core.__file__).parents[1] / "explorer" / "demo"


@pytest.fixture
def features(tmp_path: Path) -> core.Study:
    rng = np.random.default_rng(0)
    return core.study_from_features({"a": rng.normal(size=(20, 3))}, [0, 1] * 10, out=tmp_path / "study")


@pytest.fixture
def of_torch(features: core.Study) -> core.Study:
    """The study with the record of one that `study_from_torch` made."""
    path = features.path / "study.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    info["used"]["versions"] = {"torch": "2.5.0"}
    path.write_text(json.dumps(info), encoding="utf-8")
    return core.load_study(features.path)


def test_a_network_that_can_be_loaded_has_no_reason():
    study = core.load_study(DEMO / "digits")
    assert why_no_network(study) == ""
    assert torch_cut_lines(study, "avg_pool") == []


def test_features_have_no_network(features: core.Study):
    assert why_no_network(features) == "The study is of features or of pixels, and has no network."
    assert torch_cut_lines(features, "a") == []


def test_a_pytorch_network_is_cut_in_its_program(of_torch: core.Study, capsys: pytest.CaptureFixture[str]):
    assert why_no_network(of_torch) == "The study is of a PyTorch network, which is not stored with it."
    assert cannot_verify(of_torch).endswith("So no block can be taken out here.")
    assert main(["cut", str(of_torch.path), "--layer", "a"]) == 0
    assert capsys.readouterr().out.endswith(
        "The study is of a PyTorch network, which is not stored with it. With torchvision it is cut so:\n"
        "from torchvision.models.feature_extraction import create_feature_extractor\n"
        'cut = create_feature_extractor(model.eval(), {"a": "features"})\n'
        'features = cut(images)["features"]\n'
    )
    assert main(["cut", str(of_torch.path), "--layer", "a", "--out", "cut.keras"]) == 1
    assert "is of a PyTorch network, which is not stored with it. Cut it" in capsys.readouterr().err


def test_a_layer_that_the_study_does_not_have_is_refused(
    features: core.Study, of_torch: core.Study, capsys: pytest.CaptureFixture[str]
):
    for study in (features, of_torch):
        assert main(["cut", str(study.path), "--layer", "aa"]) == 1
        assert "layer must be one that the study in" in capsys.readouterr().err


@pytest.mark.torch
@pytest.mark.parametrize("name", ["resnet18", "swin_t", "vit_b_16"])
def test_the_lines_give_the_features_that_the_study_measured(name: str, tmp_path: Path):
    if os.environ.get("REQUIRE_TORCH") != "1":
        pytest.importorskip("torchvision", reason="torchvision is not installed, and no requirement")
    import torch
    import torchvision
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    layer = {"resnet18": "layer2.1", "swin_t": "features.3.1", "vit_b_16": "encoder.layers.encoder_layer_1"}[name]
    size = {"image_size": 32} if name == "vit_b_16" else {}
    model = torchvision.models.get_model(name, weights=None, **size)
    images, labels = torch.randn(6, 3, 32, 32), torch.arange(6) % 2
    loader = DataLoader(TensorDataset(images, labels), batch_size=6)
    study = core.study_from_torch(model, loader, tmp_path / "study", layers=[layer], neighbors=3, probe=False)
    variables = {"model": model, "images": images}
    with torch.inference_mode():
        exec("\n".join(torch_cut_lines(study, layer)), variables)
    features = variables["features"].numpy()
    assert features.shape == (6, study.layers["channels"].iloc[0])
    nearest = core.nearest_neighbors(features, k=3)
    stored = study.neighbors.sort_values(["sample", "rank"])
    assert stored["nearest"].to_numpy().reshape(6, 3).tolist() == nearest.indices.tolist()
    np.testing.assert_allclose(stored["distance"].to_numpy().reshape(6, 3), nearest.distances, rtol=1e-3)
