"""core.network.cutting: prefixes, heads and bypassed blocks of a small residual network."""

import numpy as np
import pytest

from core.network.cutting import (
    bypass_blocks,
    cut_network,
    linear_head,
    nearest_head,
    residual_layers,
    with_head,
)


@pytest.fixture(scope="module")
def network():
    import keras

    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3, padding="same", name="first_conv")(images)
    inner = keras.layers.Conv2D(4, 3, padding="same", name="block_conv")(first)
    total = keras.layers.Add(name="block_add")([first, inner])
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(total)
    return keras.Model(images, keras.layers.Dense(5, name="scores")(pooled))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 3)).astype(np.float32)


def computed(model, images):
    return model.predict_on_batch(images)


def test_the_poolings_of_a_prefix_are_those_of_its_activations(network, images):
    whole = computed(cut_network(network, "block_conv", pooling="none"), images)
    assert whole.shape == (6, 8, 8, 4)
    np.testing.assert_allclose(computed(cut_network(network, "block_conv"), images), whole.mean(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(
        computed(cut_network(network, "block_conv", pooling="flat"), images), whole.reshape(6, -1)
    )


def test_a_saved_prefix_is_loaded_by_keras_alone(network, images, tmp_path):
    import keras

    cut = cut_network(network, "block_add")
    cut.save(tmp_path / "cut.keras")
    loaded = keras.models.load_model(tmp_path / "cut.keras")
    np.testing.assert_allclose(computed(loaded, images), computed(cut, images), rtol=1e-5)
    assert "scores" not in {layer.name for layer in loaded.layers}


def test_an_unknown_layer_is_told_with_similar_names(network):
    with pytest.raises(ValueError, match=r"got 'blok_conv'\. Did you mean block_conv"):
        cut_network(network, "blok_conv")
    with pytest.raises(ValueError, match="pooling must be one of mean, flat, none; got 'max'"):
        cut_network(network, "block_conv", pooling="max")


def test_a_linear_head_is_a_matrix_product():
    head = linear_head([[1, 0], [0, 2], [1, 1]], [0.5, -0.5])
    assert computed(head, np.float32([[1, 2, 3]])).tolist() == [[4.5, 6.5]]


def test_a_nearest_head_names_the_class_of_the_nearest_sample_and_the_first_of_equal_ones():
    head = nearest_head([[0, 0], [1000, 1000], [1000, 1001], [0, 0]], [2, 0, 1, 0], num_classes=3)
    found = computed(head, np.float32([[1, 1], [1000, 1000.2], [999, 1003]]))
    assert found.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_a_head_sits_on_a_cut(network, images):
    cut = cut_network(network, "pool")
    kernel = np.random.default_rng(1).normal(size=(4, 3))
    found = computed(with_head(cut, linear_head(kernel, np.zeros(3))), images)
    np.testing.assert_allclose(found, computed(cut, images) @ kernel, rtol=1e-3, atol=1e-3)


def test_a_bypassed_block_passes_its_input_on(network, images):
    assert residual_layers(network) == ("block_add",)
    whole, bypassed = computed(bypass_blocks(network, [["block_add"]]), images)
    np.testing.assert_allclose(whole, computed(network, images), rtol=1e-5)
    before = computed(cut_network(network, "first_conv"), images)
    kernel, offset = network.get_layer("scores").get_weights()
    np.testing.assert_allclose(bypassed, before @ kernel + offset, rtol=1e-3, atol=1e-3)
    assert not np.allclose(whole, bypassed)
    with pytest.raises(ValueError, match=r"got 'pool'\. This network has block_add"):
        bypass_blocks(network, [["pool"]])
