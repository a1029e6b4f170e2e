"""Layers of tokens: which there are, their class token, and their channel means, against values computed by hand."""

import numpy as np
import pytest

from core.network.activations import stream_pass
from core.network.catalogue import catalogue, residual_sums, select_default_layers, select_layers, without_class_tokens
from core.network.channel_means import ChannelMeans
from core.network.cutting import cut_network
from core.network.models.registry import Network
from core.network.passes import Pass
from tests.vision_transformers import CHANNELS, NUM_PATCHES, SIDE, small_vit

keras = pytest.importorskip("keras")
NUM_IMAGES = 8
PIXELS = np.random.default_rng(0).uniform(0, 255, (NUM_IMAGES, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def with_class_token():
    return small_vit(class_token=True)


@pytest.fixture(scope="module")
def without_class_token():
    return small_vit(class_token=False)


def streamed(model, layers, pooling):
    network = Network("vit", "none", model, (SIDE, SIDE), "", "")
    passed = Pass(tuple(layers), 0)
    found = stream_pass(network, passed, lambda rows: PIXELS[rows], NUM_IMAGES, poolings=(pooling,), batch_size=8)
    return {layer: values for (layer, _), values in found.items()}


def activations_of(model, layer):
    """What Keras gives for a layer, shape (images, tokens, channels), in the same batch."""
    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    return part.predict(PIXELS, batch_size=NUM_IMAGES, verbose=0)
