"""Studies of PyTorch networks, against hooks written by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if os.environ.get("REQUIRE_TORCH") != "1":
    pytest.importorskip("torch", reason="torch is not installed, and no requirement")
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import core
from core.analysis.cut.advice import advise
from core.study.from_torch import collecting

pytestmark = pytest.mark.torch
NUM_SAMPLES, NUM_CLASSES = 30, 3
DEVICE = os.environ.get("TORCH_DEVICE", "cpu")  # of the networks that are compared with hooks written by hand
ROOT = Path(core.__file__).parents[1]


def data(side: int = 32, num_samples: int = NUM_SAMPLES) -> TensorDataset:
    """Images of noise whose brightness depends on the class a little."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_samples) % NUM_CLASSES
    images = torch.randn(num_samples, 3, side, side, generator=generator)
    return TensorDataset(images + 0.1 * labels[:, None, None, None], labels)


class Small(nn.Module):
    """A convolution, a module that is used twice and overwrites its input, dropout, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.drop, self.pool, self.head = nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Linear(4, NUM_CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        space = self.drop(self.relu(self.norm(self.conv(images))))
        return self.relu(self.head(self.pool(space).flatten(1)))


@pytest.fixture
def model() -> Small:
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], np.ndarray]:
    """The activations that studies measure, by layer and pooling."""
    activations: dict[tuple[str, str], np.ndarray] = {}
    take = collecting.Collector.take

    def copied(collector: Any, layer: Any) -> dict[str, np.ndarray]:
        by_pooling = take(collector, layer)
        activations.update({(layer.layer, pooling): np.array(matrix) for pooling, matrix in by_pooling.items()})
        return by_pooling

    monkeypatch.setattr(collecting.Collector, "take", copied)
    return activations


def values(study: core.Study, pooling: str | None = None) -> dict[str, float]:
    rows = study.measurements.query("measure == 'separation'")
    rows = rows if pooling is None else rows[rows["pooling"] == pooling]
    return dict(zip(rows["layer"].astype(str), rows["value"], strict=True))


def num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


# Against hooks written by hand


Reduce = Callable[[Any], torch.Tensor]


def maps(output: torch.Tensor) -> torch.Tensor:
    """Channels first."""
    return output.mean(dim=(2, 3))


def last(output: torch.Tensor) -> torch.Tensor:
    """Channels last, of height and width."""
    return output.mean(dim=(1, 2))


def vectors(output: torch.Tensor) -> torch.Tensor:
    return output


def tokens(output: torch.Tensor) -> torch.Tensor:
    return output.mean(dim=1)


def class_token(output: torch.Tensor) -> torch.Tensor:
    return output[:, 0]


def attention(output: tuple[torch.Tensor, Any]) -> torch.Tensor:
    return output[0][:, 0]


def resnet() -> nn.Module:
    return torchvision.models.resnet18(weights=None)


def vit() -> nn.Module:
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(network.heads.head.weight)  # which starts at zero, so that the head would be the same for all
    return network


def swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=5)


def convnext() -> nn.Module:
    return torchvision.models.convnext.ConvNeXt([torchvision.models.convnext.CNBlockConfig(8, None, 2)], num_classes=5)


HEIGHT_AND_WIDTH, TOKENS, CLASS_TOKEN, NOTHING = "positions", "tokens", "class token", None
BY_HAND: dict[str, tuple[Callable[[], nn.Module], dict[str, tuple[Reduce, str | None]]]] = {
    "resnet18": (
        resnet,
        {
            "maxpool": (maps, HEIGHT_AND_WIDTH),
            "layer1.0": (maps, HEIGHT_AND_WIDTH),
            "layer2.0.downsample.1": (maps, HEIGHT_AND_WIDTH),
            "layer3.0.conv2": (maps, HEIGHT_AND_WIDTH),
            "layer4.1": (maps, HEIGHT_AND_WIDTH),
            "avgpool": (maps, HEIGHT_AND_WIDTH),
            "fc": (vectors, NOTHING),
        },
    ),
    "vit": (
        vit,
        {
            "conv_proj": (maps, HEIGHT_AND_WIDTH),
            "encoder.dropout": (tokens, TOKENS),  # before attention, where the class token is the same for all
            "encoder.layers.encoder_layer_0.self_attention": (attention, CLASS_TOKEN),  # a tuple
            "encoder.layers.encoder_layer_0": (class_token, CLASS_TOKEN),
            "encoder.layers.encoder_layer_1.mlp": (class_token, CLASS_TOKEN),
            "encoder.ln": (class_token, CLASS_TOKEN),
            "heads.head": (vectors, NOTHING),
        },
    ),
    "swin": (
        swin,
        {
            "features.0.0": (maps, HEIGHT_AND_WIDTH),  # a convolution
            "features.0": (last, HEIGHT_AND_WIDTH),  # a convolution, permuted and normalized
            "features.1.0": (last, HEIGHT_AND_WIDTH),
            "features.1.1.mlp": (last, HEIGHT_AND_WIDTH),
            "features.2": (last, HEIGHT_AND_WIDTH),
            "norm": (last, HEIGHT_AND_WIDTH),
            "permute": (maps, HEIGHT_AND_WIDTH),
            "avgpool": (maps, HEIGHT_AND_WIDTH),
            "head": (vectors, NOTHING),
        },
    ),
    "convnext": (
        convnext,  # height, width and channels are all 8
        {
            "features.1.0.block.0": (maps, HEIGHT_AND_WIDTH),  # a convolution
            "features.1.0.block.2": (last, HEIGHT_AND_WIDTH),  # normalization of permuted channels
            "features.1.0": (maps, HEIGHT_AND_WIDTH),
            "classifier.2": (vectors, NOTHING),
        },
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_networks_have_the_numbers_of_hooks_written_by_hand(tmp_path: Path, taken: dict, name: str):
    """To the last bit, with the same batches: what pooling `mean` takes, and all activations."""
    build, layers = BY_HAND[name]
    torch.manual_seed(0)
    network = build().to(DEVICE)
    loader = DataLoader(data(), batch_size=8)
    study = core.study_from_torch(
        network, loader, tmp_path / "study", layers=list(layers), pooling="both", probe=False, projection="none"
    )

    by_hand: dict[str, list[Any]] = {layer: [] for layer in layers}
    for layer, (reduce, _) in layers.items():

        def keep(module: Any, inputs: Any, output: Any, layer: str = layer, reduce: Reduce = reduce) -> None:
            whole = output[0] if isinstance(output, tuple) else output
            whole = whole.flatten(1).to("cpu", copy=True)  # a module after it may overwrite it
            by_hand[layer].append((reduce(output).to("cpu", copy=True), whole))

        network.get_submodule(layer).register_forward_hook(keep)
    network.eval()
    labels = []
    with torch.inference_mode():
        for images, targets in loader:
            network(images.to(DEVICE))
            labels += targets.tolist()
    assert study.layers["layer"].tolist() == list(layers)
    mean_of = study.layers["mean_of"].astype(object)
    assert mean_of.where(mean_of.notna(), None).tolist() == [expected for _, expected in layers.values()]
    for layer, (_, expected) in layers.items():
        reduced, whole = (torch.cat(parts) for parts in zip(*by_hand[layer], strict=True))
        np.testing.assert_array_equal(taken[layer, "flat"], whole.numpy(), err_msg=layer)
        assert values(study, "flat")[layer] == core.separation_index(whole, labels).value
        if expected is not None:
            np.testing.assert_array_equal(taken[layer, "mean"], reduced.numpy(), err_msg=layer)
            assert values(study, "mean")[layer] == core.separation_index(reduced, labels).value


@pytest.mark.parametrize(("choice", "description"), [("auto", "class token"), ("mean", "mean over 17 tokens")])
def test_a_study_says_what_stands_for_a_sequence_of_tokens(tmp_path: Path, taken: dict, choice: str, description: str):
    torch.manual_seed(0)
    network, layer = vit(), "encoder.layers.encoder_layer_0"
    study = core.study_from_torch(
        network, DataLoader(data(), batch_size=NUM_SAMPLES), tmp_path / "study", tokens=choice, pooling="both"
    )
    sequences = taken[layer, "flat"].reshape(NUM_SAMPLES, 17, 16)
    expected = sequences[:, 0] if choice == "auto" else sequences.mean(axis=1)
    np.testing.assert_allclose(taken[layer, "mean"], expected, rtol=1e-4, atol=1e-6)
    assert study.info["used"]["pooled"][layer].startswith(description)
    assert study.info["asked"]["tokens"] == choice
    assert any("the class token stands for the sample" in caution for caution in study.info["cautions"]) == (
        choice == "auto"
    )
    assert study.layers["channels"].tolist() == [16, 16, 16, 5]


def test_the_second_call_of_a_module_is_a_layer_of_its_own(tmp_path: Path, model: Small, taken: dict):
    core.study_from_torch(model, DataLoader(data(), batch_size=7), tmp_path / "study", layers="conv,norm,relu,head")
    images = data().tensors[0]
    with torch.inference_mode():
        conv = model.eval().conv(images)
        norm = model.norm(conv)
        relu = norm.relu()
        head = model.head(relu.mean(dim=(2, 3)))
    # ReLU overwrites what normalization has returned; the layers are as their modules returned them
    for name, expected in (("conv", conv), ("norm", norm), ("relu", relu)):
        np.testing.assert_allclose(taken[name, "mean"], expected.mean(dim=(2, 3)).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(taken["head", "flat"], head.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(taken["relu_2", "flat"], head.relu().numpy(), rtol=1e-4, atol=1e-5)


# The model stays as it was


def test_hooks_are_removed_and_modes_restored(tmp_path: Path, model: Small):
    model.train()
    model.norm.eval()
    seen = []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    statistics = model.norm.running_mean.clone()
    core.study_from_torch(model, DataLoader(data(), batch_size=16), tmp_path / "study")
    assert [module.training for module in (model, model.conv, model.norm)] == [True, True, False]
    assert num_hooks(model) == 1  # its own
    assert seen[-2:] == [16, 14]  # the loader was read once
    assert torch.equal(model.norm.running_mean, statistics)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("failing", ["forward", "data", "disk"])
def test_hooks_are_removed_after_a_failure(tmp_path: Path, model: Small, failing: str, monkeypatch: pytest.MonkeyPatch):
    class Broken(TensorDataset):
        def __getitem__(self, item: int) -> Any:
            if failing == "data" and item == 20:
                raise OSError("image 20 is broken")
            return super().__getitem__(item)

    if failing == "forward":
        model.pool.forward = lambda images: 1 / 0  # type: ignore[method-assign]
    if failing == "disk":

        def full(*arguments: Any) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(collecting.ActivationStore, "write", full)
    model.train()
    loader = DataLoader(Broken(*data().tensors), batch_size=8)
    with pytest.raises((OSError, ZeroDivisionError), match=r"image 20 is broken|division by zero|no space left"):
        core.study_from_torch(model, loader, tmp_path / "study", memory=100)
    assert num_hooks(model) == 0
    assert all(module.training for module in model.modules())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_measured_in_float32(tmp_path: Path, model: Small, taken: dict, dtype: torch.dtype):
    model.to(dtype)
    study = core.study_from_torch(model, DataLoader(data(), batch_size=8), tmp_path / "study", layers=["conv", "head"])
    with torch.inference_mode():
        batches = [model.eval().conv(images.to(dtype)) for images, _ in DataLoader(data(), batch_size=8)]
    expected = torch.cat([batch.float().mean(dim=(2, 3)) for batch in batches])
    np.testing.assert_array_equal(taken["conv", "mean"], expected.numpy())
    assert study.layers["note"].isna().all()


def test_an_overflow_gives_a_note_and_other_layers_their_values(tmp_path: Path):
    class Overflow(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images * 60000).half() * 2

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Overflow())
    study = core.study_from_torch(network, DataLoader(data(), batch_size=8), tmp_path / "study", layers=["0", "1"])
    notes = dict(zip(study.layers["layer"], study.layers["note"], strict=True))
    assert notes["1"] == "not finite for 30 of 30 samples"
    assert np.isfinite(values(study)["0"])
    assert np.isnan(values(study)["1"])
    assert any("are not finite for 30 of 30" in caution for caution in study.info["cautions"])


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel], ids=["compiled", "parallel"])
def test_wrapped_models_have_plain_names_and_the_same_numbers(tmp_path: Path, model: Small, wrap: Any):
    loader = DataLoader(data(), batch_size=8)
    plain = core.study_from_torch(model, loader, tmp_path / "plain")
    wrapped = core.study_from_torch(wrap(model), loader, tmp_path / "wrapped")
    assert wrapped.layers["layer"].tolist() == plain.layers["layer"].tolist() == ["conv", "pool", "head"]
    assert values(wrapped) == values(plain)
    wrapped_name = [name for name, _ in wrap(model).named_modules() if name.endswith("conv")]
    named = core.study_from_torch(wrap(model), loader, tmp_path / "named", layers=wrapped_name)
    assert named.layers["layer"].tolist() == ["conv"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of what torch.compile imports
def test_compiled_parts_run_as_they_were_written(tmp_path: Path, model: Small):
    loader = DataLoader(data(), batch_size=8)
    plain = core.study_from_torch(model, loader, tmp_path / "plain", layers=["conv", "head"])
    model.conv = torch.compile(model.conv)
    model.compile()
    compiled = core.study_from_torch(model, loader, tmp_path / "compiled", layers=["conv", "head"])
    assert values(compiled) == values(plain)


# Memory


@pytest.mark.parametrize("memory", [1, "20KB", "1GiB"])
def test_numbers_do_not_depend_on_the_memory(tmp_path: Path, model: Small, taken: dict, memory: Any):
    study = core.study_from_torch(
        model,
        DataLoader(data(), batch_size=8),
        tmp_path / "study",
        pooling="flat",
        memory=memory,
        spool=tmp_path / "spool",
    )
    images, labels = data().tensors
    with torch.inference_mode():
        conv = torch.cat([model.eval().conv(batch) for batch in images.split(8)])
    np.testing.assert_array_equal(taken["conv", "flat"], conv.flatten(1).numpy())
    assert values(study)["conv"] == core.separation_index(conv, labels).value
    assert list((tmp_path / "spool").iterdir()) == []


def test_more_than_memory_and_disk_hold_is_refused_before_the_loader_is_read(
    tmp_path: Path, model: Small, monkeypatch: pytest.MonkeyPatch
):
    from types import SimpleNamespace

    from core.study.from_torch import store

    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000))
    with pytest.raises(ValueError, match=r"memory must hold the activations.*30 samples take 4\d\d\.\d KiB"):
        core.study_from_torch(model, DataLoader(data(), batch_size=8), tmp_path / "study", pooling="flat", memory="5kB")
    assert num_hooks(model) == 0
    assert list(tmp_path.iterdir()) == []


# The study


def test_a_study_has_splits_and_says_what_it_measured(tmp_path: Path, model: Small):
    loaders = {"test": DataLoader(data(num_samples=12), batch_size=5), "train": DataLoader(data(), batch_size=8)}
    study = core.study_from_torch(model, loaders, tmp_path / "study", layers=["conv", "head"])
    assert study.samples["split"].astype(str).tolist() == ["train"] * 30 + ["test"] * 12
    assert study.samples["id"].tolist()[:2] == ["train/0", "train/1"]
    assert study.samples["id"].tolist()[-1] == "test/11"
    assert set(study.measurements["measure"].astype(str)) >= {"separation", "cross", "knn"}
    info = json.loads((tmp_path / "study" / "study.json").read_text())
    assert info["asked"]["layers"] == ["conv", "head"]
    assert info["used"]["model"]["name"] == "Small"
    assert len(info["used"]["model"]["weights_sha256"]) == 64
    assert info["used"]["model"]["input_size"] == [3, 32, 32]
    assert info["used"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    layers = study.layers.set_index("layer")
    assert layers["kind"].astype(str).tolist() == ["Conv2d", "Linear"]
    assert layers["parameters"].tolist() == [112, 15]
    assert layers["cumulative_parameters"].tolist() == [112, 112 + 8 + 15]
    operations = [2 * 30 * 30 * 4 * 27, 2 * 30 * 30 * 4 * 27 + 2 * 4 * 3]  # two a product and sum; none of the norm
    assert layers["cumulative_flop"].tolist() == operations
    assert advise(study).layers["flop"].tolist() == operations[:1]  # the head is no candidate
    assert [list(shape) for shape in layers["output_shape"]] == [[4, 30, 30], [3]]


class Recurrent(nn.Module):
    """Rows of pixels as a sequence; PyTorch has no count of what the recurrent layer computes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.recurrent, self.head = nn.Linear(96, 6), nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = self.first(images.movedim(1, 2).flatten(2))
        return self.head(self.recurrent(rows)[0][:, -1])


def test_a_study_says_from_which_layer_on_the_operations_are_unknown(tmp_path: Path):
    study = core.study_from_torch(Recurrent(), DataLoader(data(), batch_size=8), tmp_path / "study", layers="*")
    flop = study.layers.set_index("layer")["cumulative_flop"]
    assert flop["first"] == 2 * 32 * 96 * 6
    assert flop[["recurrent", "head", "output"]].isna().all()
    (caution,) = [caution for caution in study.info["cautions"] if "operations" in caution]
    assert caution.startswith("From recurrent on, the number of operations is unknown: PyTorch does not know those of ")


def test_the_pixels_are_a_layer_where_they_are_named(tmp_path: Path, model: Small, taken: dict):
    study = core.study_from_torch(
        model, DataLoader(data(), batch_size=8), tmp_path / "study", layers=["input", "conv"], pooling="flat"
    )
    np.testing.assert_array_equal(taken["input", "flat"], data().tensors[0].flatten(1).numpy())
    assert study.layers["position"].tolist()[0] == 0
    assert study.layers["kind"].astype(str).tolist() == ["Input", "Conv2d"]


def stop_at_head(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    """Let studies end with an exception when the layer head is to be measured."""
    take = collecting.Collector.take

    def stopping(collector: Any, layer: Any) -> dict[str, np.ndarray]:
        if layer.layer == "head":
            raise failure
        return take(collector, layer)

    monkeypatch.setattr(collecting.Collector, "take", stopping)


def test_a_study_that_was_interrupted_goes_on(tmp_path: Path, model: Small, monkeypatch: pytest.MonkeyPatch):
    loader, out = DataLoader(data(), batch_size=8), tmp_path / "study"
    whole = core.study_from_torch(model, loader, tmp_path / "whole")
    stop_at_head(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        core.study_from_torch(model, loader, out)
    monkeypatch.undo()
    partial = core.load_study(out)
    assert partial.state == "partial"
    assert partial.layers["layer"].tolist() == whole.layers["layer"].tolist()[:-1]  # what was measured is kept
    again = core.study_from_torch(model, loader, out)
    assert again.state == "complete"
    assert again.measurements.equals(whole.measurements)
    with pytest.raises(core.StudyError, match="holds a complete study"):
        core.study_from_torch(model, loader, out)
    other = core.study_from_torch(model, loader, out, layers="conv", overwrite=True)
    assert other.layers["layer"].tolist() == ["conv"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_other_weights_are_another_study(tmp_path: Path, model: Small, monkeypatch: pytest.MonkeyPatch):
    loader = DataLoader(data(), batch_size=8)
    stop_at_head(monkeypatch, OSError("stop"))
    with pytest.raises(OSError, match="stop"):
        core.study_from_torch(model, loader, tmp_path / "study")
    with torch.no_grad():
        model.head.bias += 1
    with pytest.raises(core.StudyError, match=r"model\.weights_sha256"):
        core.study_from_torch(model, loader, tmp_path / "study")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "pooling must be one of 'flat', 'mean', 'both'; got 'max'"),
        ({"tokens": "last"}, "tokens must be one of 'mean', 'class', 'auto'; got 'last'"),
        ({"layers": []}, "layers must be names or patterns of modules; got []"),
        ({"layers": ["conw"]}, "got 'conw', which matches none. Did you mean conv?"),
        ({"memory": "lots"}, "memory must be a number of bytes such as 2GiB"),
        ({"memory": 0}, "memory must be a number of bytes, or a text"),
        ({"neighbors": 0}, "neighbors must be at least 1"),
        ({"metric": "manhattan"}, "metric must be one of"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, model: Small, options: dict, message: str):
    with pytest.raises(ValueError, match="must") as error:
        core.study_from_torch(model, DataLoader(data(), batch_size=8), tmp_path / "study", **options)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_folder_is_refused_before_the_network_runs(tmp_path: Path, model: Small):
    (tmp_path / "notes.txt").write_text("mine")
    model.conv.register_forward_hook(lambda *_: pytest.fail("the network has run"))
    with pytest.raises(core.StudyError, match=r"must be empty or hold a study; it has notes\.txt"):
        core.study_from_torch(model, DataLoader(data(), batch_size=8), tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.randn(6, 1, 32, 32), "model must take the input that loader yields, float32 of shape (6, 1, 32, 32)"),
        (torch.zeros(6, 3, 32, 32, dtype=torch.uint8), "model must take the input that loader yields, uint8"),
        (torch.full((6, 3, 32, 32), torch.nan), "loader must yield finite inputs; sample 0 that it yields has NaN"),
    ],
)
def test_input_that_the_network_does_not_take_is_refused(tmp_path: Path, model: Small, images: Any, message: str):
    with pytest.raises(ValueError, match="must") as error:
        core.study_from_torch(model, [(images, torch.arange(6) % 2)], tmp_path / "study")
    assert message in str(error.value)


def test_images_of_several_sizes_need_layers_without_space(tmp_path: Path, model: Small):
    batches = [(torch.randn(4, 3, side, side), torch.arange(4) % 2) for side in (16, 20)]
    with pytest.raises(ValueError, match=r"'conv' must return the same shape for each sample; got \(4, 18, 18\) after"):
        core.study_from_torch(model, batches, tmp_path / "study")
    study = core.study_from_torch(model, batches, tmp_path / "head", layers=["pool", "head"])
    assert study.layers["layer"].tolist() == ["pool", "head"]


def test_a_layer_that_is_not_called_for_a_batch_is_refused(tmp_path: Path):
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.sometimes = nn.Flatten(), nn.Linear(3 * 32 * 32, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            flat = self.always(images)
            return self.sometimes(flat) if images[0, 0, 0, 0] < 100 else flat

    images, labels = data().tensors
    images[20] = 200
    with pytest.raises(ValueError, match="layers must be called for each batch; 'sometimes' is not for one of them"):
        core.study_from_torch(Sometimes(), [(images[:20], labels[:20]), (images[20:], labels[20:])], tmp_path / "study")


def test_progress_is_reported(tmp_path: Path, model: Small):
    reports = []
    core.study_from_torch(model, DataLoader(data(), batch_size=16), tmp_path / "study", progress=reports.append)
    assert [(report.stage, report.done, report.total) for report in reports] == [
        ("train samples", 16, 30),
        ("train samples", 30, 30),
        ("measuring conv", 0, 3),
        ("measuring pool", 1, 3),
        ("measuring head", 2, 3),
    ]


def test_neither_tensorflow_nor_the_app_is_needed():
    code = (
        "import core, sys; core.study_from_torch; loaded = set(sys.modules);"
        "print(loaded & {'torch', 'tensorflow', 'keras', 'streamlit', 'altair'})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "set()\n"


def test_a_cell_runs_again(tmp_path: Path, model: Small):
    out = tmp_path / "study"
    core.study_from_torch(model, DataLoader(data(), batch_size=7), out, layers="conv")
    with pytest.raises(core.StudyError, match="overwrite=True"):
        core.study_from_torch(model, DataLoader(data(), batch_size=7), out, layers="norm")
    again = core.study_from_torch(model, DataLoader(data(), batch_size=7), out, layers="norm", overwrite=True)
    assert again.layers["layer"].tolist() == ["norm"]
    (out / "mine.txt").write_text("mine")
    with pytest.raises(core.StudyError, match=r"holds mine\.txt, too"):
        core.study_from_torch(model, DataLoader(data(), batch_size=7), out, layers="conv", overwrite=True)
    assert core.load_study(out).layers["layer"].tolist() == ["norm"]


@pytest.mark.parametrize(
    ("labels", "loaders", "message"),
    [
        (torch.zeros(NUM_SAMPLES, dtype=torch.long), ("train",), "must name at least two classes; got only 0"),
        (torch.arange(NUM_SAMPLES) % 2, ("train", "test"), "the test loader yields none.*Leave test out"),
    ],
)
def test_one_class_and_no_test_samples_are_told_and_leave_nothing(
    tmp_path: Path, model: Small, labels: torch.Tensor, loaders: tuple[str, ...], message: str
):
    train = TensorDataset(data().tensors[0], labels)
    given = {"train": DataLoader(train, batch_size=8), "test": DataLoader(Subset(train, []), batch_size=8)}
    with pytest.raises(ValueError, match=message):
        core.study_from_torch(model, {name: given[name] for name in loaders}, tmp_path / "study")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_the_system_does_not_make_is_called_out(model: Small):
    with pytest.raises(ValueError, match=r"^(the folder of )?out must be a folder that can be written to; got /proc/"):
        core.study_from_torch(model, DataLoader(data(), batch_size=8), "/proc/none/study")


def test_a_folder_that_is_a_file_is_told_before_the_network_runs(tmp_path: Path, model: Small):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out must be a folder that can be written to; got .*, and .*file is a file"):
        core.study_from_torch(model, DataLoader(data(), batch_size=8), tmp_path / "file" / "study")
