"""Names of modules without wrappers, and a network in inference mode that is afterwards as it was."""

import os

import pytest

if os.environ.get("REQUIRE_TORCH") != "1":  # there, a missing package is a failure
    pytest.importorskip("torch", reason="torch is not installed, and no requirement")
import torch
from torch import nn

from core.network.torch_models.modules import (
    aliases,
    check_model,
    count_parameters,
    device_of,
    dtype_of,
    inference,
    named_modules,
    unwrap,
    weights_hash,
)

pytestmark = pytest.mark.torch


def small_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda model: nn.DataParallel(torch.compile(model))])
def test_wrappers_are_in_no_name(wrap):
    model = small_network()
    names = ["", "0", "1", "1.0", "1.1"]
    assert [item.name for item in named_modules(wrap(model))] == names
    assert unwrap(wrap(model)) is model
    model[1] = torch.compile(model[1])
    assert [item.name for item in named_modules(model)] == names


def test_a_shared_module_is_listed_once_and_has_other_names():
    shared = nn.Linear(2, 2)
    model = nn.ModuleDict({"encoder": shared, "decoder": shared})
    assert [item.name for item in named_modules(model)] == ["", "encoder"]
    assert aliases(model) == {"decoder": "encoder"}
    assert count_parameters(model) == 6


def test_each_module_is_in_its_own_mode_afterwards_also_after_an_error():
    model = small_network().train()
    model[1][0].eval()  # frozen statistics
    before = [module.training for module in model.modules()]

    def fail_inside() -> None:
        with inference(model):
            assert not any(module.training for module in model.modules())
            assert torch.is_inference_mode_enabled()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_inside()
    assert [module.training for module in model.modules()] == before == [True, True, True, False, True]
    assert not torch.is_inference_mode_enabled()


@pytest.mark.filterwarnings("ignore")  # of torch.export
def test_an_exported_network_is_refused():
    exported = torch.export.export(small_network(), (torch.zeros(2, 3, 8, 8),)).module()
    with (
        pytest.raises(ValueError, match=r"GraphModule of torch\.export, which has none\. Pass the network"),
        inference(exported),
    ):
        pass


def test_device_and_type_are_those_of_the_first_parameters():
    assert dtype_of(nn.Linear(2, 2).to(torch.bfloat16)) == torch.bfloat16
    assert dtype_of(nn.ReLU()) == torch.float32
    assert device_of(nn.ReLU()).type == "cpu"


def test_the_hash_depends_on_every_weight():
    torch.manual_seed(0)
    model = small_network()
    before = weights_hash(model)
    assert weights_hash(torch.nn.Sequential(*model)) == before
    with torch.no_grad():
        model[1][0].running_mean[2] += 1  # a buffer
    assert weights_hash(model) != before
    assert len({weights_hash(model.to(dtype)) for dtype in (torch.float32, torch.float16, torch.bfloat16)}) == 3


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)  # of TorchScript and lazy modules
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: "resnet18", "model must be a torch.nn.Module; got str"),
        (lambda: nn.Linear(2, 2, device="meta"), "got 'weight' on the meta device"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "'0.weight' gets its shape from the first batch"),
        (lambda: torch.jit.script(nn.Sequential(nn.Linear(2, 2))), "got TorchScript. Pass the network that it was"),
        (lambda: nn.Sequential(torch.jit.script(nn.Linear(2, 2))), "got TorchScript in '0'"),
    ],
)
def test_networks_that_cannot_be_measured_are_refused(model, message: str):
    with pytest.raises(ValueError, match=message):
        check_model(model())
