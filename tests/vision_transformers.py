"""Small vision transformers of Keras's own layers, with random weights, for tests; and the README's lines for one."""

from pathlib import Path
from typing import Any

import pytest

import core
from core.cli import main
from tests.documents import ROOT, code_blocks, commands, section

SIDE, CHANNELS = 16, 8
NUM_PATCHES = 4**2


def small_vit(*, class_token: bool, num_blocks: int = 2, num_classes: int = 3, side: int = SIDE, seed: int = 0) -> Any:
    """A patch convolution, 16 tokens of 8 channels, blocks of attention and dense layers, and a head.

    With a class token, it is put before the 16 others, and the head reads it; without, the head reads their mean.
    """
    import keras

    keras.utils.set_random_seed(seed)
    layers, ops = keras.layers, keras.ops
    pixels = keras.Input((side, side, 3), name="pixels")
    x = layers.Rescaling(1 / 255, name="scaled")(pixels)
    x = layers.Conv2D(CHANNELS, side // 4, strides=side // 4, name="patch_conv")(x)
    x = layers.Reshape((NUM_PATCHES, CHANNELS), name="patches")(x)
    if class_token:
        token = layers.Embedding(1, CHANNELS, name="class_embedding")(ops.zeros_like(x[:, :1, 0], dtype="int32"))
        x = layers.Concatenate(axis=1, name="with_class_token")([token, x])
    for number in range(1, num_blocks + 1):
        name = f"block{number}"
        y = layers.LayerNormalization(name=f"{name}_norm1")(x)
        y = layers.MultiHeadAttention(2, CHANNELS // 2, name=f"{name}_attention")(y, y)
        x = layers.Add(name=f"{name}_add1")([x, y])
        y = layers.LayerNormalization(name=f"{name}_norm2")(x)
        y = layers.Dense(2 * CHANNELS, activation="gelu", name=f"{name}_dense1")(y)
        x = layers.Add(name=f"{name}_add2")([x, layers.Dense(CHANNELS, name=f"{name}_dense2")(y)])
    x = layers.LayerNormalization(name="norm")(x)
    x = x[:, 0] if class_token else layers.GlobalAveragePooling1D(name="token_pool")(x)
    return keras.Model(pixels, layers.Dense(num_classes, activation="softmax", name="predictions")(x), name="small_vit")


def study_of_the_readme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> core.Study:
    """Run the README's lines for a transformer in a folder, but for its images, of which few digits take the place."""
    monkeypatch.chdir(folder)
    text = section((ROOT / "core/network/README.md").read_text(encoding="utf-8"), "### Transformers")
    (block,) = [block for block in code_blocks(text) if "test_keras_hub" in block.mark]
    exec(compile(block.text, "README", "exec"), {})
    (words,) = [words for _, words in commands(text, "python -m core") if words[0] == "study"]
    words[words.index("path/to/images")] = "digits"
    assert main([*words, "--per-class", "4", "--neighbors", "3", "--no-probe"]) == 0
    return core.load_study("vit-study")
