"""Which layers are watched by default, and their channel means."""

import numpy as np
import pytest

from core.network.catalogue import catalogue
from core.network.channel_means import ChannelMeans, evenly_spaced, representative_layers

keras = pytest.importorskip("keras")


def names(model):
    return [layer.layer for layer in representative_layers(catalogue(model))]


def test_of_efficientnet_the_ends_of_blocks_and_the_head():
    from core.network.models.registry import load_network

    chosen = names(load_network("efficientnet-lite0", "none").model)
    ends = ["stem_conv", "block3a_project_conv", "block4c_add", "block6b_add", "top_conv"]
    assert chosen == [*ends, "avg_pool", "predictions"]


def test_of_a_dense_network_the_last_layers():
    layers = [keras.layers.Dense(4, name=f"dense{place}") for place in range(12)]
    chosen = names(keras.Sequential([keras.Input((5,)), *layers]))
    assert chosen == [f"dense{place}" for place in range(4, 12)]


@pytest.mark.parametrize(("most", "expected"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (20, list(range(10)))])
def test_even_spacing_holds_both_ends(most, expected):
    assert evenly_spaced(list(range(10)), most) == expected
    assert evenly_spaced([], most) == []


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_means_are_over_space_whatever_the_batches(batch_size):
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1, name="conv")(inputs))
    images = np.float32(np.random.default_rng(0).normal(size=(10, 4, 4, 2)))
    conv = [layer for layer in catalogue(model) if layer.layer == "conv"]
    found = ChannelMeans(model, conv, batch_size=batch_size)(lambda rows: images[rows], 10)
    np.testing.assert_allclose(found["conv"], model(images).numpy().mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
