"""What modules return: axes of samples and channels, class tokens, parameters; and which of them are measured."""

import os
from typing import Any

import pytest

if os.environ.get("REQUIRE_TORCH") != "1":
    pytest.importorskip("torch", reason="torch is not installed, and no requirement")
import torch
import torchvision
from torch import nn

from core.network.torch_models.choosing import ChosenLayers, choose_layers
from core.network.torch_models.forward import LayerHooks
from core.network.torch_models.modules import aliases, inference
from core.network.torch_models.tracing import Call, trace

pytestmark = pytest.mark.torch
VISION = torchvision.models


def small_vit() -> Any:
    return VISION.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )


def small_swin() -> Any:
    return VISION.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=[4, 4],
        stochastic_depth_prob=0.1,
        num_classes=5,
    )


def calls_of(model: Any, images: torch.Tensor, *, tokens: str = "auto") -> list[Call]:
    with inference(model):
        return trace(model, lambda count: model(images[:count]), len(images), tokens=tokens)


def chosen(model: Any, images: torch.Tensor, patterns: list[str] | None = None) -> ChosenLayers:
    return choose_layers(model, calls_of(model, images), None, patterns, aliases(model))


# name of the network, its input's side, and by layer: kind, channels, shape, parameters, cumulative parameters, pooling
TABLE = {
    "resnet18": (
        lambda: VISION.resnet18(weights=None),
        64,
        {
            "maxpool": ("MaxPool2d", 64, (64, 16, 16), 0, 9_536, "channels first"),
            "layer1.0": ("BasicBlock", 64, (64, 16, 16), 73_984, 83_520, "channels first"),
            "layer4.1": ("BasicBlock", 512, (512, 2, 2), 4_720_640, 11_176_512, "channels first"),
            "avgpool": ("AdaptiveAvgPool2d", 512, (512, 1, 1), 0, 11_176_512, "channels first"),
            "fc": ("Linear", 1000, (1000,), 513_000, 11_689_512, "all activations"),
        },
        11,
    ),
    "vit": (
        small_vit,
        32,
        {
            "encoder.layers.encoder_layer_0": (
                "EncoderBlock",
                16,
                (17, 16),
                2_224,
                5_600,
                "class token, the first of 17",
            ),
            "encoder.layers.encoder_layer_1": (
                "EncoderBlock",
                16,
                (17, 16),
                2_224,
                7_824,
                "class token, the first of 17",
            ),
            "encoder.ln": ("LayerNorm", 16, (17, 16), 32, 7_856, "class token, the first of 17"),
            "heads.head": ("Linear", 5, (5,), 85, 7_941, "all activations"),
        },
        4,
    ),
    "swin": (
        small_swin,
        32,
        {
            "features.1.0": ("SwinTransformerBlock", 8, (8, 8, 8), 970, 1_378, "8 × 8 positions, channels last"),
            "features.2": ("PatchMerging", 16, (4, 4, 16), 576, 2_924, "4 × 4 positions, channels last"),
            "norm": ("LayerNorm", 16, (4, 4, 16), 32, 9_712, "4 × 4 positions, channels last"),
            "avgpool": ("AdaptiveAvgPool2d", 16, (16, 1, 1), 0, 9_712, "1 × 1 positions, channels first"),
            "head": ("Linear", 5, (5,), 85, 9_797, "all activations"),
        },
        8,
    ),
    "convnext": (
        lambda: VISION.convnext.ConvNeXt([VISION.convnext.CNBlockConfig(8, None, 2)], num_classes=5),
        32,
        {
            "features.0": ("Conv2dNormActivation", 8, (8, 8, 8), 408, 408, "channels first"),  # channels = height
            "features.1.1": ("CNBlock", 8, (8, 8, 8), 976, 2_360, "8 × 8 positions, channels first"),
            "classifier.0": ("LayerNorm2d", 8, (8, 1, 1), 16, 2_376, "channels first"),
        },
        6,
    ),
    "vgg11": (
        lambda: VISION.vgg11(weights=None, num_classes=5),
        32,
        {
            "features.0": ("Conv2d", 64, (64, 32, 32), 1_792, 1_792, "channels first"),
            "features.2": ("MaxPool2d", 64, (64, 16, 16), 0, 1_792, "channels first"),
            "classifier.6": ("Linear", 5, (5,), 20_485, 128_786_821, "all activations"),
        },
        17,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_default_layers_of_networks(name: str):
    build, side, expected, num_layers = TABLE[name]
    torch.manual_seed(0)
    model = build()
    layers = chosen(model, torch.randn(4, 3, side, side)).layers
    rows = {
        layer.layer: (
            layer.kind,
            layer.form.channels,
            layer.form.shape,
            layer.parameters,
            layer.cumulative_parameters,
            layer.pooled_text,
        )
        for layer in layers
    }
    for layer, (*facts, pooling) in expected.items():
        assert rows[layer][:5] == tuple(facts), layer
        assert pooling in rows[layer][5], layer
    assert len(layers) == num_layers, list(rows)
    positions = [layer.position for layer in layers]
    assert positions == sorted(set(positions))
    assert layers[-1].cumulative_parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("build", "side"),
    [
        ("efficientnet_b0", 32),
        ("mobilenet_v3_small", 32),
        ("regnet_y_400mf", 32),
        ("shufflenet_v2_x0_5", 32),
        ("mnasnet0_5", 32),
        ("squeezenet1_0", 64),
        ("alexnet", 64),
        ("googlenet", 64),
    ],
)
@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")  # of GoogLeNet
def test_other_networks_have_sensible_defaults(build: str, side: int):
    """Their layers are in order, have all of the parameters at the end, and channels first where they have space."""
    model = getattr(VISION, build)(weights=None, num_classes=5)
    layers = chosen(model, torch.randn(2, 3, side, side)).layers
    assert 5 <= len(layers) <= 60
    cumulative = [layer.cumulative_parameters for layer in layers]
    assert cumulative == sorted(cumulative)
    assert all("channels last" not in layer.pooled_text for layer in layers if len(layer.form.shape) == 3)
    assert layers[-1].form.channels == 5


def test_the_blocks_of_stages_are_found():
    """As in the ConvNeXt of timm and the ResNet of Transformers."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images + self.conv(images)

    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.downsample, self.blocks = nn.AvgPool2d(2), nn.Sequential(Block(), Block())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.blocks(self.downsample(images))

    stages = nn.Sequential(nn.Sequential(Stage(), Stage()), nn.Flatten(), nn.Linear(12, 2))
    names = [layer.layer for layer in chosen(stages, torch.randn(2, 3, 8, 8)).layers]
    blocks = [f"0.{stage}.blocks.{block}" for stage in range(2) for block in range(2)]
    assert names == ["0.0.downsample", *blocks[:2], "0.1.downsample", *blocks[2:], "2"]


class Tokens(nn.Module):
    """Tokens from PyTorch's own encoder, samples on the second axis unless `batch_first`."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=batch_first)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.encoder(tokens if self.batch_first else tokens.transpose(0, 1))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("num_tokens", [5, 4])  # as many as samples, too
def test_the_axis_of_the_samples_is_told_from_others_of_its_size(batch_first: bool, num_tokens: int):
    calls = {call.name: call for call in calls_of(Tokens(batch_first=batch_first), torch.randn(4, num_tokens, 6))}
    form = calls["encoder.linear2"].form
    assert form is not None
    assert (form.batch_axis, form.shape, form.channels) == (0 if batch_first else 1, (num_tokens, 6), 6)
    assert form.description == f"mean over {num_tokens} tokens, channels last"


def test_padding_does_not_count_in_the_mean_over_tokens():
    """Tokens 1, 3 and the padding 100 of the first sample; 2, 4 and 6 of the second: means 2 and 4."""
    model = nn.Sequential(nn.LayerNorm(1, elementwise_affine=False), nn.Identity())
    calls = calls_of(model, torch.randn(2, 3, 1))
    layer = choose_layers(model, calls, None, ["1"], {}).layers[0]
    rows = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
    received = {}
    hooks = LayerHooks([layer], ["mean"], lambda layer, pooling, values: received.update({pooling: values.tolist()}))
    with hooks.attached():
        hooks.run(lambda: model[1](rows), rows, token_weights=torch.tensor([[1, 1, 0], [1, 1, 1]]).bool())
    assert received == {"mean": [[2.0], [4.0]]}


def test_a_stack_of_pytorchs_own_encoders():
    """Their fast path calls no modules; the calls are those of a network with hooks."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 2)
    layers = chosen(encoder, torch.randn(3, 5, 6)).layers
    assert [layer.layer for layer in layers] == ["layers.0", "layers.1"]
    received = []
    hooks = LayerHooks(layers, ["mean"], lambda layer, pooling, values: received.append((layer.layer, values.shape)))
    tokens = torch.randn(3, 5, 6)
    with inference(encoder), hooks.attached():
        hooks.run(lambda: encoder(tokens), tokens)
    assert received == [("layers.0", (3, 6)), ("layers.1", (3, 6))]


def test_a_class_token_is_one_only_where_the_tokens_have_it():
    class LateClassToken(nn.Module):
        """As in CaiT: blocks over the patches, then one with the class token, which attention (here a mean) reaches."""

        def __init__(self) -> None:
            super().__init__()
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 6))
            self.patches = nn.Conv2d(3, 6, 4, 4)
            self.early, self.before, self.late = nn.LayerNorm(6), nn.LayerNorm(6), nn.LayerNorm(6)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.early(self.patches(images).flatten(2).transpose(1, 2))
            tokens = self.before(torch.cat([self.cls_token.expand(len(images), -1, -1), tokens], dim=1))
            return self.late(tokens + tokens.mean(dim=1, keepdim=True))

    model, images = LateClassToken(), torch.randn(3, 3, 8, 8)

    def class_tokens(tokens: str) -> dict[str, bool]:
        calls = calls_of(model, images, tokens=tokens)
        return {call.name: call.form is not None and call.form.class_token for call in calls}

    names = ["patches", "early", "before", "late", "output"]
    assert class_tokens("auto") == dict(zip(names, [False, False, False, True, True], strict=True))
    assert class_tokens("mean") == dict.fromkeys(names, False)
    assert class_tokens("class") == dict(zip(names, [False, True, True, True, True], strict=True))


def test_one_dimensional_convolutions_have_channels_first():
    model = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.BatchNorm1d(5), nn.AdaptiveAvgPool1d(1))
    forms = [call.form for call in calls_of(model, torch.randn(2, 3, 9))]
    assert [form.channels for form in forms if form is not None] == [5] * 5
    assert forms[0] is not None
    assert forms[0].description == "mean over 7 positions, channels first"


class Parts(nn.Module):
    """Returns tuples, mappings, and nothing of use."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.mapping, self.scalar = nn.LSTM(4, 3, batch_first=True), nn.Identity(), nn.Identity()
        self.shared = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden, _ = self.lstm(inputs)
        result = self.mapping({"aux": hidden, "logits": self.shared(self.shared(hidden))})
        self.scalar(hidden.sum())
        return result


def test_outputs_of_several_parts_and_modules_used_twice():
    calls = {call.name: call for call in calls_of(Parts(), torch.randn(2, 5, 4))}
    assert list(calls) == ["lstm", "shared", "shared_2", "mapping", "scalar", "output"]
    assert (calls["lstm"].part, calls["mapping"].part, calls["shared"].part) == ("[0]", "['logits']", "")
    assert calls["shared"].cumulative_parameters == calls["shared_2"].cumulative_parameters == 108 + 12
    assert calls["scalar"].problem == "it returns no tensor"


def test_names_and_patterns_choose_modules():
    model, inputs = Parts(), torch.randn(2, 5, 4)

    def names(*patterns: str) -> list[str]:
        return [layer.layer for layer in chosen(model, inputs, list(patterns)).layers]

    assert names("shared", "lstm") == ["lstm", "shared", "shared_2"]
    assert names("shared_2") == ["shared_2"]
    assert names("s*") == ["shared", "shared_2"]
    assert chosen(model, inputs, ["s*"]).left_out == {"scalar": "it returns no tensor"}
    assert names("output") == ["output"]
    twice = nn.ModuleDict({"first": nn.Linear(4, 4)})
    twice["second"] = twice["first"]
    twice.forward = lambda images: twice["second"](images)  # type: ignore[method-assign]
    assert [layer.layer for layer in chosen(twice, inputs[:, 0], ["second"]).layers] == ["first"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("lstn", "got 'lstn', which matches none. Did you mean lstm?"),
        ("nowhere.*", "got 'nowhere.*', which matches none. There are lstm, shared, shared_2, mapping, scalar …."),
        ("unused", "'unused' is not called when the network runs"),
        ("unus*", "'unus*' matches only modules that are not called when the network runs: unused."),
        ("scalar", "'scalar' cannot be measured: it returns no tensor."),
    ],
)
def test_layers_that_are_not_there_are_refused_with_what_is_near(pattern: str, message: str):
    with pytest.raises(ValueError, match="layers must name modules") as error:
        chosen(Parts(), torch.randn(2, 5, 4), ["lstm", pattern])
    assert message in str(error.value)


def test_all_wrong_names_are_told_together():
    with pytest.raises(ValueError, match=r"got 'lstn'.*got 'sharde'"):
        chosen(Parts(), torch.randn(2, 5, 4), ["lstn", "sharde"])
