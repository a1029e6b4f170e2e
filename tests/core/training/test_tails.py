"""A new head, and the cut between what is frozen and what trains: the parts together are the whole."""

import keras
import numpy as np
import pytest

from core.network.catalogue import catalogue
from core.training.tails import HeadedNetwork, add_head


def backbone(size: int = 12) -> keras.Model:
    """Two blocks with a shortcut around the second, so that a cut within it crosses two tensors."""
    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    stem = layers.Conv2D(4, 3, padding="same", name="stem_conv")(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="block1a_conv")(stem)
    x = layers.BatchNormalization(name="block1a_bn")(x)
    x = layers.Conv2D(4, 3, padding="same", name="block2a_conv")(x)
    x = layers.BatchNormalization(name="block2a_bn")(x)
    x = layers.Dropout(0.5, name="block2a_drop")(x)
    x = layers.Add(name="block2a_add")([x, stem])
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(image, layers.Dense(7, name="predictions")(x), name="small")


def pixels(size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (5, size, size, 3)).astype(np.float32)


def through_the_parts(network: HeadedNetwork, images: np.ndarray) -> np.ndarray:
    pooled = network.pooled(network.below_cut(images))
    return np.asarray(network.predictions(network.normalization(pooled, training=False)))


@pytest.mark.parametrize(
    ("unfreeze", "crossing"),
    [
        ("block2a_conv", [(12, 12, 4), (12, 12, 4)]),
        ("block2*", [(12, 12, 4), (12, 12, 4)]),
        ("block2a_add", [(12, 12, 4), (12, 12, 4)]),
        ("rescaling", [(12, 12, 3)]),
        ("avg_pool", [(12, 12, 4)]),
        (None, [(4,)]),
    ],
)
def test_the_parts_are_the_whole(unfreeze, crossing):
    network = add_head(backbone(), 3, unfreeze=unfreeze)
    assert [tuple(tensor.shape[1:]) for tensor in network.lower.outputs] == crossing
    whole = np.asarray(network.whole(pixels()))
    assert whole.shape == (5, 3)
    assert np.allclose(whole.sum(axis=1), 1)
    assert np.allclose(through_the_parts(network, pixels()), whole, atol=1e-6)


def test_what_trains_in_each_phase():
    network = add_head(backbone(), 3, unfreeze="block2a_conv")
    names = {phase: [variable.path for variable in network.trainable(phase)] for phase in ("head", "tail")}
    head = ["predictions/kernel", "predictions/bias"]
    assert names["head"] == ["head_bn/gamma", "head_bn/beta", *head]
    assert names["tail"] == ["block2a_conv/kernel", "block2a_conv/bias", *head]
    assert {variable.path for variable in network.state()} == {
        *names["head"],
        *names["tail"],
        "head_bn/moving_mean",
        "head_bn/moving_variance",
    }


def test_layers_that_a_file_left_frozen_train_again():
    model = backbone()
    model.trainable = False
    assert len(add_head(model, 3, unfreeze="block2a_conv").trainable("tail")) == 4


def test_the_whole_keeps_the_names_and_survives_a_file(tmp_path):
    network = add_head(backbone(), 3, unfreeze="block2a_conv")
    network.whole.save(tmp_path / "whole.keras")
    again = keras.models.load_model(tmp_path / "whole.keras", safe_mode=True)
    assert np.array_equal(again(pixels()), network.whole(pixels()))
    names = [layer.layer for layer in catalogue(again)]
    assert names == ["input", "stem_conv", "block1a_conv", "block2a_conv", "block2a_add", "avg_pool", "predictions"]
    assert [layer.name for layer in again.layers[-4:]] == ["avg_pool", "head_bn", "head_dropout", "predictions"]


def test_a_nested_network_is_opened():
    image = keras.Input((12, 12, 3))
    network = add_head(keras.Model(image, backbone()(image)), 3, unfreeze="block2a_conv")
    assert np.allclose(through_the_parts(network, pixels()), network.whole(pixels()), atol=1e-6)
    assert "block2a_conv" in [layer.name for layer in network.whole.layers]


def test_a_nested_network_below_the_pooling_keeps_its_path(tmp_path):
    """A Sequential with a new head: names before and after the training are the same."""
    base = backbone()
    body = keras.Model(base.inputs[0], base.get_layer("block2a_add").output, name="body")
    model = keras.Sequential([keras.Input((12, 12, 3)), body, keras.layers.GlobalAveragePooling2D(name="pool")])
    network = add_head(model, 3, unfreeze="body/block2a_conv")
    assert np.allclose(through_the_parts(network, pixels()), network.whole(pixels()), atol=1e-6)
    network.whole.save(tmp_path / "whole.keras")
    names = [layer.layer for layer in catalogue(keras.models.load_model(tmp_path / "whole.keras"))]
    in_body = ["stem_conv", "block1a_conv", "block2a_conv", "block2a_add"]
    assert names == ["input", *[f"body/{name}" for name in in_body], "avg_pool", "predictions"]


def test_layers_of_one_name_in_two_nested_networks_get_distinct_names(tmp_path):
    """One backbone on top of the other, the pooling within the second one: both have a layer conv1."""
    image, maps = keras.Input((12, 12, 3)), keras.Input((12, 12, 2))
    first = keras.Model(image, keras.layers.Conv2D(2, 3, padding="same", name="conv1")(image), name="first")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 3, name="conv1")(maps))
    second = keras.Model(maps, pooled, name="second")
    outer = keras.Input((12, 12, 3))
    network = add_head(keras.Model(outer, second(first(outer))), 3, unfreeze="second/conv1")
    assert np.allclose(through_the_parts(network, pixels()), network.whole(pixels()), atol=1e-6)
    assert [variable.shape for variable in network.trainable("tail")[:2]] == [(3, 3, 2, 5), (5,)]
    network.whole.save(tmp_path / "whole.keras")
    again = keras.models.load_model(tmp_path / "whole.keras")
    assert np.allclose(again(pixels()), network.whole(pixels()), atol=1e-6)
    assert {"first_conv1", "second_conv1"} <= {layer.name for layer in again.layers}


def test_two_backbones_side_by_side_are_refused():
    image = keras.Input((12, 12, 3))
    sides = [keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image)) for _ in range(2)]
    with pytest.raises(ValueError, match="Save one of its backbones as a file and fine-tune that"):
        add_head(keras.Model(image, keras.layers.Concatenate()(sides)), 3, unfreeze=None)


def test_a_network_without_global_pooling_gets_its_head_on_the_last_space():
    image = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(5, 3, name="only_conv")(image)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    assert add_head(model, 3, unfreeze="only_conv").whole.get_layer("avg_pool").input.shape == (None, 10, 10, 5)


def test_the_pooling_of_a_squeeze_excite_branch_is_not_the_end_of_the_network():
    """Without its top, the last global pooling is that of the last block's branch; the head belongs on its last map."""
    model = keras.applications.MobileNetV3Small((32, 32, 3), weights=None, include_top=False)
    assert add_head(model, 3, unfreeze=None).whole.get_layer("avg_pool").input is model.outputs[0]


def test_another_architecture():
    model = keras.applications.MobileNetV3Small((32, 32, 3), weights=None, include_top=False)
    network = add_head(model, 3, unfreeze="expanded_conv_10_*")
    assert len(network.lower.outputs) == 1
    assert np.allclose(through_the_parts(network, pixels(32)), network.whole(pixels(32)), atol=1e-5)


def test_the_head_depends_on_the_seed():
    kernels = [np.asarray(add_head(backbone(), 3, unfreeze=None, seed=seed).predictions.kernel) for seed in (0, 0, 1)]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_no_match_is_an_error_that_names_similar_layers():
    with pytest.raises(
        ValueError, match=r"unfreeze must match a layer .*; got 'block3a_conv'. Did you mean .*block2a_c"
    ):
        add_head(backbone(), 3, unfreeze="block3a_conv")


def test_a_network_without_space_is_an_error():
    vector = keras.Input((4,))
    with pytest.raises(ValueError, match=r"activations of shape \(n, height, width, channels\)"):
        add_head(keras.Model(vector, keras.layers.Dense(2)(vector)), 3, unfreeze=None)
