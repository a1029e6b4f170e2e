"""Legacy PyTorch checkpoints: what is read, what is refused, and where each tensor goes."""

import pickle
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.network.models.pytorch_checkpoints import load_efficientnet_lite, read_torch_checkpoint

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
DTYPES = {
    "<f4": "FloatStorage",
    "<f8": "DoubleStorage",
    "<f2": "HalfStorage",
    "<i8": "LongStorage",
    "|b1": "BoolStorage",
}


def fragment(value: Any) -> bytes:
    """The pickle of a value without the opcodes that begin and end a pickle."""
    return pickle.dumps(value, 2)[2:-1]


def tensor_fragment(storage: str, key: str, size: int, offset: int, shape: tuple, strides: tuple) -> bytes:
    reference = b"(" + fragment("storage") + f"ctorch\n{storage}\n".encode()
    reference += b"".join(map(fragment, (key, "cpu", size, None))) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = reference + b"".join(map(fragment, (offset, shape, strides, False))) + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state_dict(fragments: dict[str, bytes]) -> bytes:
    items = b"".join(fragment(name) + value for name, value in fragments.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."


def checkpoint(state: bytes, storages: dict[str, np.ndarray]) -> bytes:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC_NUMBER, 1001, system))
    raw = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
    return head + state + pickle.dumps(list(storages), 2) + raw


def small_checkpoint() -> bytes:
    """One tensor [[0, 1, 2], [3, 4, 5]], one scalar."""
    fragments = {
        "a": tensor_fragment("FloatStorage", "1", 6, 0, (2, 3), (3, 1)),
        "count": tensor_fragment("LongStorage", "2", 1, 0, (), ()),
    }
    return checkpoint(state_dict(fragments), {"1": np.arange(6, dtype="<f4"), "2": np.array([7], dtype="<i8")})


def read(content: bytes, folder: Path) -> dict[str, np.ndarray]:
    path = folder / "state.pth"
    path.write_bytes(content)
    return read_torch_checkpoint(path)


def test_tensors_come_back_by_name(tmp_path):
    tensors = read(small_checkpoint(), tmp_path)
    assert list(tensors) == ["a", "count"]
    assert tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["a"].dtype == np.float32
    assert tensors["count"].shape == ()
    assert tensors["count"] == 7


@pytest.mark.parametrize("dtype", DTYPES)
def test_storage_types(dtype, tmp_path):
    values = np.array([0, 1, 1], dtype=dtype)
    fragments = {"a": tensor_fragment(DTYPES[dtype], "1", 3, 0, (3,), (1,))}
    read_back = read(checkpoint(state_dict(fragments), {"1": values}), tmp_path)["a"]
    assert read_back.dtype == values.dtype
    assert read_back.tolist() == values.tolist()


def test_strides_offsets_and_a_shared_storage(tmp_path):
    storage = np.arange(12, dtype="<f4")
    fragments = {
        "transposed": tensor_fragment("FloatStorage", "1", 12, 0, (4, 3), (1, 4)),
        "every_other_from_two": tensor_fragment("FloatStorage", "1", 12, 2, (2, 2), (4, 2)),
        "last": tensor_fragment("FloatStorage", "1", 12, 11, (1,), (1,)),
        "empty": tensor_fragment("FloatStorage", "1", 12, 12, (0,), (1,)),
    }
    tensors = read(checkpoint(state_dict(fragments), {"1": storage}), tmp_path)
    assert tensors["transposed"].tolist() == storage.reshape(3, 4).T.tolist()
    assert tensors["every_other_from_two"].tolist() == [[2, 4], [6, 8]]
    assert tensors["last"].tolist() == [11]
    assert tensors["empty"].shape == (0,)
    assert all(tensor.flags.c_contiguous for tensor in tensors.values())


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(1, (6,), (1,)), (0, (2, 3), (4, 1)), (0, (2,), (-1,)), (-1, (2,), (1,)), (0, (100,), (0,)), (0, (2, 3), (1,))],
)
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides, tmp_path):
    fragments = {"a": tensor_fragment("FloatStorage", "1", 6, offset, shape, strides)}
    with pytest.raises(ValueError, match=r"a tensor (of|has) shape"):
        read(checkpoint(state_dict(fragments), {"1": np.arange(6, dtype="<f4")}), tmp_path)


class Touch:
    """Unpickled with the plain pickle module, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", ["first", "state"])
def test_a_malicious_pickle_does_not_run(place, tmp_path):
    made = tmp_path / "made"
    attack = pickle.dumps(Touch(made), 2)
    pickle.loads(attack)
    assert made.exists(), "the attack must work on the plain unpickler to prove anything"
    made.unlink()
    with pytest.raises(pickle.UnpicklingError, match=r"tensors only; got (posix|nt)\.system"):
        read(attack if place == "first" else checkpoint(attack, {}), tmp_path)
    assert not made.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("builtins", "eval"), ("collections", "Counter"), ("torch", "load"), ("torch._utils", "_rebuild_parameter")],
)
def test_every_other_global_is_refused_by_name(module, name, tmp_path):
    state = b"\x80\x02" + f"c{module}\n{name}\n".encode() + b")R."
    with pytest.raises(pickle.UnpicklingError, match=rf"{module}\.{name}"):
        read(checkpoint(state, {}), tmp_path)


def test_a_reference_to_anything_but_a_storage_is_refused(tmp_path):
    state = b"\x80\x02(" + b"".join(map(fragment, ("module", "x", "1", "cpu", 1, None))) + b"tQ."
    with pytest.raises(pickle.UnpicklingError, match="got the reference"):
        read(checkpoint(state, {}), tmp_path)


@pytest.mark.parametrize("cut", range(0, len(small_checkpoint()), 7))
def test_a_truncated_file_is_an_error_wherever_it_ends(cut, tmp_path):
    with pytest.raises(ValueError, match=r"state\.pth is truncated or in another format"):
        read(small_checkpoint()[:cut], tmp_path)


@pytest.mark.parametrize("content", [b"not a pickle at all", pickle.dumps(3), bytes(100)])
def test_other_files_are_an_error(content, tmp_path):
    with pytest.raises(ValueError, match="in another format"):
        read(content, tmp_path)


def test_the_newer_zip_format_is_named(tmp_path):
    with pytest.raises(ValueError, match="newer zip format"):
        read(b"PK\x03\x04" + bytes(50), tmp_path)


def test_a_forged_storage_length_is_not_allocated(tmp_path):
    fragments = {"a": tensor_fragment("FloatStorage", "1", 2**50, 0, (1,), (1,))}
    content = checkpoint(state_dict(fragments), {"1": np.arange(6, dtype="<f4")})
    forged = content.replace(struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes(), struct.pack("<q", 2**50))
    with pytest.raises(ValueError, match="storage 1 ends early"):
        read(forged, tmp_path)


class Weight(SimpleNamespace):
    """Stands in for a Keras variable."""

    def assign(self, value: np.ndarray) -> None:
        self.value = value


def small_model() -> SimpleNamespace:
    """Stem convolution, one depthwise convolution with its normalization, head."""

    def layer(name: str, **shapes: tuple[int, ...]) -> SimpleNamespace:
        return SimpleNamespace(name=name, weights=[Weight(name=key, shape=shape) for key, shape in shapes.items()])

    normalization = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (4,))
    layers = [
        layer("stem_conv", kernel=(3, 2, 5, 4)),
        layer("block1a_dwconv", kernel=(3, 2, 4, 1)),
        layer("block1a_bn", **normalization),
        layer("predictions", kernel=(4, 6), bias=(6,)),
    ]
    return SimpleNamespace(name="small", layers=layers)


def small_state() -> dict[str, np.ndarray]:
    shapes = {
        "_conv_stem.weight": (4, 5, 3, 2),
        "_blocks.0._depthwise_conv.weight": (4, 1, 3, 2),
        "_blocks.0._bn1.weight": (4,),
        "_blocks.0._bn1.bias": (4,),
        "_blocks.0._bn1.running_mean": (4,),
        "_blocks.0._bn1.running_var": (4,),
        "_blocks.0._bn1.num_batches_tracked": (),
        "_fc.weight": (6, 4),
        "_fc.bias": (6,),
    }
    random = np.random.default_rng(0)
    return {name: random.random(shape, dtype=np.float32) for name, shape in shapes.items()}


def test_every_tensor_goes_where_it_belongs():
    model, state = small_model(), small_state()
    load_efficientnet_lite(model, state)
    weights = {f"{layer.name}/{weight.name}": weight.value for layer in model.layers for weight in layer.weights}
    assert weights["stem_conv/kernel"][2, 1, 4, 3] == state["_conv_stem.weight"][3, 4, 2, 1]
    assert weights["block1a_dwconv/kernel"][2, 1, 3, 0] == state["_blocks.0._depthwise_conv.weight"][3, 0, 2, 1]
    assert weights["predictions/kernel"][3, 5] == state["_fc.weight"][5, 3]
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for keras_name, torch_name in names.items():
        assert (weights[f"block1a_bn/{keras_name}"] == state[f"_blocks.0._bn1.{torch_name}"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_fc.bias": None}, "no tensor for predictions/bias"),
        ({"_blocks.1._bn1.weight": np.zeros(4)}, r"got one named _blocks\.1\._bn1\.weight"),
        ({"_blocks.0._se_reduce.weight": np.zeros(4)}, r"got one named _blocks\.0\._se_reduce\.weight"),
        ({"_conv_head.weight": np.zeros(4)}, r"no \(further\) weight top_conv/kernel for _conv_head"),
        ({"_blocks.00._bn1.bias": np.zeros(4)}, r"no \(further\) weight block1a_bn/beta for _blocks\.00"),
        ({"_fc.bias": np.zeros(7)}, r"_fc\.bias gives shape \(7,\), not \(6,\)"),
    ],
)
def test_a_state_that_does_not_fit_names_the_tensor(change, message):
    state = {name: value for name, value in (small_state() | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        load_efficientnet_lite(small_model(), state)
