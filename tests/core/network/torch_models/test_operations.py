"""Operations of networks up to each layer, against counts by hand: two for each multiplication and addition."""

import os
from typing import Any

import pytest

if os.environ.get("REQUIRE_TORCH") != "1":
    pytest.importorskip("torch", reason="torch is not installed, and no requirement")
import torch
import torchvision
from torch import nn

from core.network.torch_models.modules import inference
from core.network.torch_models.operations import OperationCount
from core.network.torch_models.tracing import trace

pytestmark = pytest.mark.torch


def operations_of(model: Any, batch: torch.Tensor) -> dict[str, OperationCount]:
    model.eval()
    with inference(model):
        calls = trace(model, lambda count: model(batch[:count]), len(batch))
    return {call.name: call.operations for call in calls}


def flop_of(model: Any, batch: torch.Tensor) -> dict[str, int | None]:
    return {name: count.flop for name, count in operations_of(model, batch).items()}


def test_the_convolutions_of_a_resnet():
    flop = flop_of(torchvision.models.resnet18(weights=None), torch.zeros(1, 3, 64, 64))
    stem = 2 * 32**2 * 64 * 3 * 7**2  # 32 x 32 positions, 64 filters over 3 channels of 7 x 7
    first = 4 * 2 * 16**2 * 64 * 64 * 9  # two blocks of two convolutions of 3 x 3
    stages = [stem + first]
    for channels, side in ((128, 8), (256, 4), (512, 2)):
        entry = 2 * side**2 * channels * (channels // 2) * (9 + 1)  # the first convolution, and that of the shortcut
        stages.append(stages[-1] + entry + 3 * 2 * side**2 * channels**2 * 9)
    assert [flop[f"layer{number}"] for number in (1, 2, 3, 4)] == stages
    assert flop["conv1"] == flop["maxpool"] == stem
    assert flop["avgpool"] == stages[-1]
    assert flop["fc"] == flop["output"] == stages[-1] + 2 * 512 * 1000


def test_the_published_operations_of_resnet18():
    """1.814 billion multiplications and additions at 224 x 224, as torchvision's documentation has them."""
    flop = flop_of(torchvision.models.resnet18(weights=None), torch.zeros(1, 3, 224, 224))
    assert flop["output"] == 2 * 1_814_073_344


TOKENS, CHANNELS, HIDDEN = 17, 16, 32
ATTENTION = 4 * 2 * TOKENS * CHANNELS**2 + 2 * 2 * TOKENS**2 * CHANNELS  # q, k, v, result; scores, weighted values
BLOCK = ATTENTION + 2 * 2 * TOKENS * CHANNELS * HIDDEN


def test_the_blocks_of_a_vision_transformer():
    model = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=CHANNELS, mlp_dim=HIDDEN, num_classes=5
    )
    flop = flop_of(model, torch.zeros(2, 3, 32, 32))
    patches = 2 * 16 * CHANNELS * 3 * 8**2
    assert flop["conv_proj"] == patches
    assert flop["encoder.layers.encoder_layer_0.self_attention"] == patches + ATTENTION
    assert flop["encoder.layers.encoder_layer_0"] == patches + BLOCK
    assert flop["encoder.layers.encoder_layer_1"] == patches + 2 * BLOCK
    assert flop["heads.head"] == patches + 2 * BLOCK + 2 * CHANNELS * 5


@pytest.mark.parametrize("num_heads", [1, 4])
def test_pytorchs_own_encoder_and_attention(num_heads: int):
    layer = nn.TransformerEncoderLayer(CHANNELS, num_heads, HIDDEN, batch_first=True)
    assert flop_of(layer, torch.zeros(3, TOKENS, CHANNELS))["output"] == BLOCK


class CrossAttention(nn.Module):
    """Three learned queries that attend to all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(3, CHANNELS))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        queries = self.queries.expand(len(tokens), -1, -1)
        return nn.functional.scaled_dot_product_attention(queries, tokens, tokens)


def test_attention_of_few_queries_to_many_tokens():
    assert flop_of(CrossAttention(), torch.zeros(2, TOKENS, CHANNELS))["output"] == 2 * 2 * 3 * TOKENS * CHANNELS


class WithRecurrence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.recurrent = nn.LSTM(8, 6, batch_first=True)
        self.last = nn.Linear(6, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.last(self.recurrent(self.first(tokens))[0][:, -1])


def test_layers_after_an_operator_without_a_formula_have_no_count():
    counts = operations_of(WithRecurrence(), torch.zeros(2, 5, 4))
    assert counts["first"] == OperationCount(2 * 5 * 4 * 8)
    for name in ("recurrent", "last", "output"):
        assert counts[name].flop is None
        (operator,) = counts[name].uncounted
        assert "rnn" in operator or "lstm" in operator


class RunsTwice(nn.Module):
    """Fails in its third run, the one in which operations are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.num_runs = nn.Linear(4, 2), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.num_runs += 1
        if self.num_runs == 3:
            raise RuntimeError("cannot be counted")
        return self.linear(images)


def test_a_network_that_cannot_be_counted_is_measured_without():
    model = RunsTwice()
    assert operations_of(model, torch.zeros(2, 4)) == {"linear": OperationCount(None), "output": OperationCount(None)}
    assert not model._forward_hooks
    assert not model.linear._forward_hooks
