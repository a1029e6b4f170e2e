"""Layers of tokens: which there are, their class token, and their channel means, against values computed by hand."""

import numpy as np
import pytest

from core.network.activations import stream_pass
from core.network.catalogue import catalogue, select_default_layers, select_layers, with_tokens
from core.network.channel_means import ChannelMeans
from core.network.cutting import cut_network
from core.network.models.registry import Network
from core.network.passes import Pass
from tests.vision_transformers import CHANNELS, NUM_PATCHES, SIDE, small_vit

keras = pytest.importorskip("keras")
NUM_IMAGES = 8
FIRST = "class token, the first of 17 tokens"
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


def test_layers_of_tokens_have_the_channels_parameters_and_blocks_that_are_worked_out_by_hand(with_class_token):
    rows = [
        (info.layer, info.kind, info.block, info.channels, info.parameters, info.output_shape, info.pooled_text)
        for info in catalogue(with_class_token)
    ]
    attention = 4 * (CHANNELS * CHANNELS + CHANNELS)  # queries, keys, values, output: weights and biases
    dense1, dense2 = CHANNELS * 16 + 16, 16 * CHANNELS + CHANNELS
    tokens = (NUM_PATCHES + 1, CHANNELS)
    assert rows[:8] == [
        ("input", "Input", "input", 3, 0, (SIDE, SIDE, 3), ""),
        ("patch_conv", "Conv2D", "patch", CHANNELS, 4 * 4 * 3 * CHANNELS + CHANNELS, (4, 4, CHANNELS), ""),
        ("with_class_token", "Concatenate", "with", CHANNELS, 0, tokens, "mean over 17 tokens"),
        ("block1_attention", "MultiHeadAttention", "block1", CHANNELS, attention, tokens, FIRST),
        ("block1_add1", "Add", "block1", CHANNELS, 0, tokens, FIRST),
        ("block1_dense1", "Dense", "block1", 16, dense1, (NUM_PATCHES + 1, 16), FIRST),
        ("block1_dense2", "Dense", "block1", CHANNELS, dense2, tokens, FIRST),
        ("block1_add2", "Add", "block1", CHANNELS, 0, tokens, FIRST),
    ]
    assert rows[-2:] == [
        ("class_token_13", "ClassToken", "class", CHANNELS, 0, (CHANNELS,), ""),
        ("predictions", "Dense", "predictions", 3, CHANNELS * 3 + 3, (3,), ""),
    ]
    assert catalogue(with_class_token)[-1].cumulative_parameters == with_class_token.count_params()


def test_the_default_layers_are_the_token_layers_and_the_class_token_in_place_of_the_pooling(with_class_token):
    layers = catalogue(with_class_token)
    assert [info.layer for info in select_layers(layers, "last_pool,output")] == ["class_token_13", "predictions"]
    assert [info.layer for info in select_default_layers(layers)] == [info.layer for info in layers[1:]]
    ends = ["patch_conv", "with_class_token", "block1_add2", "block2_add2", "class_token_13"]
    assert [info.layer for info in select_layers(layers, "blocks")] == ends


def test_without_a_class_token_every_layer_of_tokens_is_a_mean(without_class_token):
    layers = catalogue(without_class_token)
    assert {info.pooled_text for info in layers} == {"", "mean over 16 tokens"}
    assert [info.layer for info in select_layers(layers, "last_pool")] == ["token_pool"]


@pytest.mark.parametrize("layer", ["block1_attention", "block1_add1", "block1_dense1", "block2_add2"])
def test_the_class_token_is_the_networks_own_to_the_last_bit(with_class_token, layer):
    info = {info.layer: info for info in catalogue(with_class_token)}[layer]
    values = streamed(with_class_token, [info], "mean")[layer]
    np.testing.assert_array_equal(values, activations_of(with_class_token, layer)[:, 0])


@pytest.mark.parametrize("layer", ["block1_attention", "block1_add1", "block1_dense1", "block2_add2"])
@pytest.mark.parametrize("class_token", [True, False])
def test_means_are_those_over_tokens_to_the_last_bit(with_class_token, without_class_token, layer, class_token):
    import tensorflow as tf

    model = with_class_token if class_token else without_class_token
    infos = {info.layer: info for info in with_tokens(catalogue(model), "mean")}
    values = streamed(model, [infos[layer]], "mean")[layer]
    activations = activations_of(model, layer)
    assert values.shape == (NUM_IMAGES, infos[layer].channels)
    np.testing.assert_array_equal(values, tf.reduce_mean(activations, axis=1).numpy())
    np.testing.assert_allclose(values, activations.astype(np.float64).mean(axis=1), rtol=0, atol=1e-6)


def test_before_the_first_attention_the_mean_is_taken_because_the_class_token_is_always_the_same(with_class_token):
    info = {info.layer: info for info in catalogue(with_class_token)}["with_class_token"]
    activations = activations_of(with_class_token, "with_class_token")
    assert (activations[:, 0] == activations[0, 0]).all()
    values = streamed(with_class_token, [info], "mean")["with_class_token"]
    np.testing.assert_allclose(values, activations.mean(axis=1), rtol=0, atol=1e-6)


def test_flat_features_are_all_tokens(with_class_token):
    info = {info.layer: info for info in catalogue(with_class_token)}["block1_add2"]
    values = streamed(with_class_token, [info], "flat")["block1_add2"]
    np.testing.assert_array_equal(values, activations_of(with_class_token, "block1_add2").reshape(NUM_IMAGES, -1))


def test_a_model_that_is_being_trained_is_measured_by_its_class_token_too(with_class_token):
    infos = [info for info in catalogue(with_class_token) if info.layer in ("block1_add1", "patch_conv")]
    means = ChannelMeans(with_class_token, infos, batch_size=NUM_IMAGES)(lambda rows: PIXELS[rows], NUM_IMAGES)
    np.testing.assert_array_equal(means["block1_add1"], activations_of(with_class_token, "block1_add1")[:, 0])


def selection(select):
    """A network of three tokens of two channels that mixes them, and selects some as `select` says."""
    image = keras.Input((3, 2, 3))
    tokens = keras.layers.Conv2D(2, (1, 2), name="conv")(image)
    tokens = keras.layers.Reshape((3, 2), name="tokens")(tokens)
    mixed = keras.layers.MultiHeadAttention(1, 2, name="attention")(tokens, tokens)
    return keras.Model(image, keras.layers.Dense(2, name="head")(select(mixed)))


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (lambda x: x[:, 0], 0),
        (lambda x: x[:, 0, :], 0),
        (lambda x: x[:, -1], 2),
        (lambda x: keras.layers.Flatten()(x[:, :1]), 0),
        (lambda x: keras.ops.take(x, 1, axis=1), 1),
        (lambda x: keras.layers.Flatten()(x[:, :2]), None),
        (lambda x: keras.layers.Flatten()(x), None),
        (lambda x: keras.layers.GlobalMaxPooling1D()(x), None),
        (lambda x: keras.ops.mean(x, axis=1), None),
    ],
    ids=["index", "index and channels", "last", "slice", "take", "two tokens", "all", "pooling", "mean"],
)
def test_the_token_that_the_head_reads(select, expected):
    layers = {info.layer: info for info in catalogue(selection(select))}
    assert layers["attention"].class_token == expected


def test_a_mean_that_is_no_layer_is_a_global_pooling():
    layers = catalogue(selection(lambda x: keras.ops.mean(x, axis=1)))
    (pooling,) = select_layers(layers, "last_pool")
    assert (pooling.kind, pooling.output_shape) == ("Mean", (2,))
    assert layers[-1].pooled


def test_layers_between_two_permutations_are_averaged_over_tokens():
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(CHANNELS, 4, strides=4, name="patch_conv")(image)
    x = keras.layers.Reshape((NUM_PATCHES, CHANNELS), name="patches")(x)
    x = keras.layers.Permute((2, 1), name="there")(x)
    x = keras.layers.Dense(5, name="mix_tokens")(x)  # 8 channels of 5 mixtures of tokens
    x = keras.layers.Permute((2, 1), name="back")(x)
    x = keras.layers.Dense(6, name="mix_channels")(x)
    model = keras.Model(image, keras.layers.Dense(2, name="head")(keras.layers.GlobalAveragePooling1D()(x)))
    layers = {info.layer: info for info in catalogue(model)}
    assert (layers["mix_tokens"].channels, layers["mix_channels"].channels) == (CHANNELS, 6)
    values = streamed(model, [layers["mix_tokens"]], "mean")["mix_tokens"]
    expected = activations_of(model, "mix_tokens").mean(axis=2)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
    cut = cut_network(model, "mix_tokens").predict(PIXELS, verbose=0)
    np.testing.assert_allclose(cut, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("tokens", "expected"), [("auto", 0), ("class", 0), ("mean", None)])
def test_a_cut_network_gives_the_same_features(with_class_token, tokens, expected, tmp_path):
    path = tmp_path / "cut.keras"
    cut_network(with_class_token, "block2_add1", tokens=tokens).save(path)
    activations = activations_of(with_class_token, "block2_add1")
    features = activations[:, 0] if expected == 0 else activations.mean(axis=1)
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(loaded.predict(PIXELS, verbose=0), features, rtol=0, atol=1e-6)


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A residual block of attention, as a layer of a class of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.normalization = keras.layers.LayerNormalization(name="normalization")
        self.attention = keras.layers.MultiHeadAttention(2, CHANNELS // 2, name="attention")

    def build(self, shape):
        self.normalization.build(shape)
        self.attention.build(shape, shape)

    def call(self, inputs):
        x = self.normalization(inputs)
        return inputs + self.attention(x, x)


@keras.saving.register_keras_serializable("tests")
class Positions(keras.layers.Layer):
    """Adds an embedding of positions: a constant of the graph, were it expanded, instead of weights."""

    def build(self, shape):
        self.embedding = keras.layers.Embedding(shape[1], shape[2], name="embedding")
        self.embedding.build((1, shape[1]))

    def call(self, inputs):
        return inputs + self.embedding(keras.ops.arange(inputs.shape[1]))[None]


def of_custom_layers():
    keras.utils.set_random_seed(1)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(CHANNELS, 4, strides=4, name="patch_conv")(image)
    x = keras.layers.Reshape((NUM_PATCHES, CHANNELS), name="patches")(x)
    x = Positions(name="positions")(x)
    x = Block(name="encoder_block_1")(x)
    x = Block(name="encoder_block_2")(x)
    return keras.Model(image, keras.layers.Dense(2, name="head")(keras.layers.GlobalAveragePooling1D(name="pool")(x)))


def test_a_layer_made_of_layers_is_expanded_unless_weights_would_become_constants(tmp_path):
    model = of_custom_layers()
    layers = catalogue(model)
    assert [(info.layer, info.kind, info.block) for info in layers[1:]] == [
        ("patch_conv", "Conv2D", "patch"),
        ("positions", "Positions", "positions"),
        ("encoder_block_1/attention", "MultiHeadAttention", "encoder_block_1"),
        ("encoder_block_1/add_4", "Add", "encoder_block_1"),
        ("encoder_block_2/attention", "MultiHeadAttention", "encoder_block_2"),
        ("encoder_block_2/add_6", "Add", "encoder_block_2"),
        ("pool", "GlobalAveragePooling1D", "pool"),
        ("head", "Dense", "head"),
    ]
    assert layers[-1].cumulative_parameters == model.count_params()
    values = streamed(model, [layers[4], layers[6]], "flat")
    for layer, block in (("encoder_block_1/add_4", "encoder_block_1"), ("encoder_block_2/add_6", "encoder_block_2")):
        np.testing.assert_array_equal(values[layer], activations_of(model, block).reshape(NUM_IMAGES, -1))
    cut_network(model, "encoder_block_2/attention").save(tmp_path / "cut.keras")
    features = keras.models.load_model(tmp_path / "cut.keras").predict(PIXELS, verbose=0)
    expected = streamed(model, [layers[5]], "mean")["encoder_block_2/attention"]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-6)


def test_the_first_token_everywhere(without_class_token):
    layers = {info.layer: info for info in with_tokens(catalogue(without_class_token), "class")}
    assert {info.pooled_text for info in layers.values()} == {"", "class token, the first of 16 tokens"}
    values = streamed(without_class_token, [layers["block1_add1"]], "mean")["block1_add1"]
    np.testing.assert_array_equal(values, activations_of(without_class_token, "block1_add1")[:, 0])
