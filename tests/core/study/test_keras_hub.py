"""A vision transformer of KerasHub, with random weights: its blocks are measured, cut and fine-tuned.

KerasHub is no dependency of the project: these tests run where it is installed. REQUIRE_KERAS_HUB=1 makes it a failure
where it is not.
"""

import importlib.util
import os

import numpy as np
import pytest

import core
from core.cli import main
from core.data.images.loading import load_images
from core.network.activations import stream_pass
from core.network.catalogue import catalogue
from core.network.models.registry import load_network
from core.network.passes import Pass
from tests.vision_transformers import study_of_the_readme

IS_INSTALLED = importlib.util.find_spec("keras_hub") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # of KerasHub and of what it brings
    pytest.mark.skipif(
        not IS_INSTALLED and os.environ.get("REQUIRE_KERAS_HUB") != "1",
        reason="keras_hub is not installed: pip install keras-hub",
    ),
]
SIDE, PATCH, CHANNELS, BLOCKS = 32, 8, 16, 2


def vision_transformer(pooling):
    import keras
    import keras_hub

    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(SIDE, SIDE, 3), patch_size=PATCH, num_layers=BLOCKS, num_heads=2, hidden_dim=CHANNELS, mlp_dim=32
    )
    classifier = keras_hub.models.ViTImageClassifier(backbone, num_classes=3, pooling=pooling, name="classifier")
    pixels = keras.Input((SIDE, SIDE, 3), name="pixels")
    scores = classifier(keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels))
    return keras.Model(pixels, scores, name="vit"), backbone


@pytest.fixture(scope="module", params=["token", "gap"])
def saved(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "vit.keras"
    vision_transformer(request.param)[0].save(path)
    return request.param, path


def test_the_lines_of_the_readme_make_a_network_that_its_command_measures(tmp_path, monkeypatch):
    import keras
    import keras_hub

    backbone = keras_hub.models.ViTBackbone(
        image_shape=(224, 224, 3), patch_size=56, num_layers=1, num_heads=2, hidden_dim=CHANNELS, mlp_dim=32
    )
    small = keras_hub.models.ViTImageClassifier(backbone, num_classes=3, name="classifier")
    monkeypatch.setattr(keras_hub.models.ViTImageClassifier, "from_preset", lambda preset: small)  # no download
    study = study_of_the_readme(tmp_path, monkeypatch)
    assert study.layers["layer"].str.endswith("vit_encoder/transformer_block_1/mha").any()
    assert study.layers["note"].isna().all()
    images = load_images("digits", per_class=4).load(np.arange(4), (224, 224))
    scaled = images / 127.5 - 1
    np.testing.assert_allclose(
        keras.saving.load_model("vit.keras").predict(images, verbose=0), small.predict(scaled, verbose=0), atol=1e-5
    )


def test_the_blocks_of_the_encoder_are_listed(saved):
    pooling, path = saved
    network = load_network(str(path))
    layers = catalogue(network.model)
    first = [info for info in layers if info.block.endswith("/transformer_block_1")]
    assert [info.kind for info in first] == ["MultiHeadAttention", "Add", "Dense", "Dense", "Add"]
    assert {info.output_shape for info in first} == {(17, CHANNELS), (17, 32)}
    expected = "class token, the first of 17 tokens" if pooling == "token" else "mean over 17 tokens"
    assert {info.pooled_text for info in first} == {expected}
    assert [info.parameters for info in first] == [4 * (CHANNELS * CHANNELS + CHANNELS), 0, 17 * 32, 33 * CHANNELS, 0]
    assert layers[-1].cumulative_parameters == network.model.count_params()
    assert [info.kind for info in layers if info.is_global_pooling] == ["ClassToken" if pooling == "token" else "Mean"]


def test_activations_of_a_block_are_those_of_the_block_to_the_last_bit():
    import keras
    import tensorflow as tf

    from core.network.models.registry import Network

    model, backbone = vision_transformer("token")
    encoder = backbone.get_layer("vit_encoder")
    images = np.random.default_rng(0).uniform(0, 255, (8, SIDE, SIDE, 3)).astype(np.float32)
    ends = [info for info in catalogue(model) if info.kind == "Add"][1::2]
    assert len(ends) == BLOCKS
    network = Network("vit", "none", model, (SIDE, SIDE), "", "")
    streamed = stream_pass(
        network, Pass(tuple(ends), 0), lambda rows: images[rows], 8, poolings=("mean",), batch_size=8
    )

    @tf.function
    def by_hand(pixels):
        x = backbone.get_layer("vit_patching_and_embedding")(keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels))
        found = []
        for block in encoder.encoder_layers:
            x = block(x)
            found.append(x)
        return found

    for info, expected in zip(ends, by_hand(images), strict=True):
        np.testing.assert_array_equal(streamed[info.layer, "mean"], expected.numpy()[:, 0])


def test_a_study_its_cut_and_fine_tuning(saved, tmp_path):
    pooling, path = saved
    out, tuned = tmp_path / "study", tmp_path / "tuned"
    small = ["--per-class", "6", "--neighbors", "3", "--no-probe"]
    assert main(["study", "digits", "--model", str(path), "--out", str(out), *small]) == 0
    study = core.load_study(out)
    assert study.layers["note"].isna().all()
    assert any("class token" in caution for caution in study.info["cautions"]) == (pooling == "token")
    layer = next(name for name in study.layers["layer"] if name.endswith("transformer_block_1/mlp/dense_2"))
    assert main(["cut", str(out), "--layer", layer, "--out", str(tmp_path / "cut.keras")]) == 0
    training = ["--per-class", "8", "--head-epochs", "1", "--tail-epochs", "1", "--unfreeze", "*transformer_block_2/*"]
    assert main(["fine-tune", "digits", "--model", str(path), "--out", str(tuned), *training]) == 0
    assert (
        main(["study", "digits", "--weights", str(tuned / "final.keras"), "--out", str(tmp_path / "after"), *small])
        == 0
    )
