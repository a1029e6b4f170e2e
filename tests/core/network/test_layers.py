"""The layer catalogue: known numbers of known networks, names that stay, and the choice of layers."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from core.network.backbones import load_network
from core.network.layers import LayerInfo, catalogue, layer_tensors, select_layers


@pytest.fixture(scope="module")
def b0() -> keras.Model:
    return load_network("efficientnet-b0", "none").model


@pytest.fixture(scope="module")
def lite0() -> keras.Model:
    return load_network("efficientnet-lite0", "none").model


def info(
    position: int, layer: str, kind: str = "Conv2D", shape: tuple[int, ...] = (2, 2, 3), *, pooled: bool = False
) -> LayerInfo:
    return LayerInfo(position, layer, kind, layer.split("_")[0], shape[-1], 0, 0, shape, int(np.prod(shape)), pooled)


LAYERS = (
    info(0, "input", "Input"),
    info(1, "stem_conv"),
    info(2, "block1a_dwconv", "DepthwiseConv2D"),
    info(3, "block1a_se_reduce", pooled=True),
    info(4, "block1a_se_excite", "Multiply"),
    info(5, "block1b_add", "Add"),
    info(6, "avg_pool", "GlobalAveragePooling2D", (8,), pooled=True),
    info(7, "predictions", "Dense", (5,), pooled=True),
)


def test_efficientnet_b0(b0):
    layers = catalogue(b0)
    main = select_layers(layers, "main")
    assert len(main) == 74
    assert sum(layer.num_features for layer in main) == 9_254_336
    convolutions = [layer for layer in layers if layer.kind in ("Conv2D", "DepthwiseConv2D")]
    assert len(convolutions) == 81
    assert sum("_se_" in layer.layer for layer in convolutions) == 32
    parameters = {layer.layer: layer.parameters for layer in layers}
    assert parameters["stem_conv"] == 864
    assert parameters["block1a_dwconv"] == 288
    assert parameters["top_conv"] == 409_600
    assert layers[-1].cumulative_parameters == b0.count_params() == 5_330_571


def test_efficientnet_lite0(lite0):
    main = select_layers(catalogue(lite0), "main")
    assert len(main) == 58
    assert sum(layer.num_features for layer in main) == 6_947_808


def test_the_same_names_in_b0_and_lite(b0, lite0):
    lite_layers = catalogue(lite0)
    shapes = {layer.layer: layer.output_shape for layer in catalogue(b0)}
    assert {layer.layer: layer.output_shape for layer in lite_layers}.items() <= shapes.items()
    assert set(shapes) - {layer.layer for layer in lite_layers} == {name for name in shapes if "_se_" in name}


def test_every_field_of_a_layer(lite0):
    layers = catalogue(lite0)
    assert layers[0] == LayerInfo(0, "input", "Input", "input", 3, 0, 0, (224, 224, 3), 224 * 224 * 3)
    # 864 in the stem's convolution, 4 x 32 in its normalization
    assert layers[2] == LayerInfo(
        2,
        "block1a_dwconv",
        "DepthwiseConv2D",
        "block1a",
        32,
        288,
        864 + 128 + 288,
        (112, 112, 32),
        112 * 112 * 32,
        flop=2 * 288 * 112**2,
        cumulative_flop=2 * (864 + 288) * 112**2,
    )
    assert [layer.position for layer in layers] == list(range(len(layers)))
    last = layers[-1]
    assert (last.layer, last.kind, last.output_shape, last.spatial) == ("predictions", "Dense", (1000,), False)
    assert last.pooled
    assert layers[1].spatial


def test_tensors_are_those_of_the_catalogue(b0):
    tensors = layer_tensors(b0)
    layers = catalogue(b0)
    assert list(tensors) == [layer.layer for layer in layers]
    assert all(tensors[layer.layer].shape[1:] == layer.output_shape for layer in layers)
    assert tensors["stem_conv"] is b0.get_layer("stem_conv").output


def residual_model() -> keras.Model:
    """Sums and products of two tensors without layers, a sum and a product with a number, layers without names."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="first_conv")(image)
    y = keras.layers.Conv2D(4, 1)(x)
    x = (x + y) * 0.5 + 1.0
    x = keras.ops.multiply(x, y)
    x = keras.layers.MaxPooling2D()(x)
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


def test_operations_that_are_no_layers_have_names_that_stay():
    first, second = catalogue(residual_model()), catalogue(residual_model())
    assert [(layer.layer, layer.kind) for layer in first] == [
        ("input", "Input"),
        ("first_conv", "Conv2D"),
        ("conv2d_2", "Conv2D"),
        ("add_3", "Add"),
        ("multiply_4", "Multiply"),
        ("max_pooling2d_5", "MaxPooling2D"),
        ("dense_6", "Dense"),
    ]
    assert first == second


def nested_model() -> tuple[keras.Model, keras.Model, keras.Model]:
    """Augmentation (Sequential), an inner graph used twice, a head."""
    augment = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(2.0)], name="augment")
    inner_image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, padding="same", name="inner_conv")(inner_image)
    inner = keras.Model(inner_image, keras.layers.Add(name="inner_add")([x, inner_image]), name="inner")
    image = keras.Input((8, 8, 3))
    x = inner(inner(augment(image)))
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(image, keras.layers.Dense(2, name="predictions")(x)), inner, augment


def test_nested_models_are_flattened():
    model, inner, augment = nested_model()
    layers = catalogue(model)
    names = ["input", "inner_conv", "inner_add", "inner_conv_2", "inner_add_2", "avg_pool", "predictions"]
    assert [layer.layer for layer in layers] == names
    assert [layer.cumulative_parameters for layer in layers] == [0, 84, 84, 84, 84, 84, 92]
    tensors = layer_tensors(model)
    images = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    outputs = keras.Model(model.inputs[0], tensors)(images)
    once = inner(augment(images))
    assert np.allclose(outputs["inner_add"], once, atol=1e-6)
    assert np.allclose(outputs["inner_add_2"], inner(once), atol=1e-5)
    assert np.allclose(outputs["predictions"], model(images), atol=1e-5)


def test_a_sequential_model():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3, name="head")])
    assert [layer.layer for layer in catalogue(model)] == ["input", "head"]


def test_an_open_image_size_is_an_error():
    image = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="fixed image size"):
        catalogue(keras.Model(image, keras.layers.Conv2D(2, 3)(image)))


def test_several_inputs_are_an_error():
    inputs = [keras.Input((3,)), keras.Input((3,))]
    with pytest.raises(ValueError, match="has 2"):
        catalogue(keras.Model(inputs, keras.layers.Add()(inputs)))


@pytest.mark.parametrize(
    ("kind", "shape", "pooled", "expected"),
    [
        ("Conv2D", (2, 2, 3), False, True),
        ("DepthwiseConv2D", (1, 1, 3), False, True),  # of a small image
        ("Conv2D", (1, 1, 3), True, False),  # squeeze-excite
        ("Multiply", (2, 2, 3), False, True),
        ("Add", (2, 2, 3), False, True),
        ("Concatenate", (2, 2, 3), False, True),
        ("Dense", (2, 2, 3), False, True),
        ("Dense", (3,), False, False),  # after flattening
        ("Add", (3,), True, False),
        ("MaxPooling2D", (2, 2, 3), False, False),
        ("GlobalAveragePooling2D", (3,), True, False),
        ("Input", (2, 2, 3), False, False),
    ],
)
def test_main_layers(kind, shape, pooled, expected):
    assert info(1, "any_name", kind, shape, pooled=pooled).is_main is expected


def chosen_by_name(layer: LayerInfo) -> bool:
    """What the original notebook chose."""
    return layer.layer.endswith("conv") or layer.kind in ("Multiply", "Add")


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-lite0"])
@pytest.mark.parametrize("size", [224, 32])
def test_the_main_layers_of_efficientnet_are_those_of_the_notebook(name, size):
    """By their place in the network, whatever the image size; at 32 pixels the last blocks have one position left."""
    layers = catalogue(load_network(name, "none", input_size=size).model)
    assert [layer.layer for layer in layers if layer.is_main] == [
        layer.layer for layer in layers if chosen_by_name(layer)
    ]


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("stem_conv", "stem"),
        ("block4a_project_conv", "block4a"),
        ("top_conv", "top"),
        ("avg_pool", "avg"),
        ("conv2_block1_0_conv", "conv2_block1"),
        ("conv1_conv", "conv1"),
        ("small_stage_0_block_2_depthwise_conv", "stage_0_block_2"),
        ("small_stem_conv", "stem"),
        ("block_13_expand", "block_13"),
        ("block1_conv1", "block1"),
    ],
)
def test_blocks(name, block):
    image = keras.Input((2, 2, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name=name)(image), name="small")
    assert catalogue(model)[1].block == block


@pytest.mark.parametrize(
    ("patterns", "positions"),
    [
        ("main", [1, 2, 4, 5]),
        ("all", list(range(8))),
        ("main,avg_pool,predictions", [1, 2, 4, 5, 6, 7]),
        ("predictions, input", [0, 7]),
        ("block1?_add,block*", [2, 3, 4, 5]),
        ("stem_conv,main,stem_conv", [1, 2, 4, 5]),
        ("blocks", [1, 4, 5, 6]),
        ("blocks,predictions", [1, 4, 5, 6, 7]),
    ],
)
def test_layers_are_chosen_in_network_order_without_duplicates(patterns, positions):
    assert [layer.position for layer in select_layers(LAYERS, patterns)] == positions


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("main,stem_cnov", r"got 'stem_cnov' in 'main,stem_cnov'\. Did you mean stem_conv"),
        ("block9*", "got 'block9"),
        ("", "got '' in ''"),
        ("main,,predictions", "got ''"),
        ("Stem_conv", "Did you mean stem_conv"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(patterns, message):
    with pytest.raises(ValueError, match=message):
        select_layers(LAYERS, patterns)


def test_no_tensorflow_before_a_network_is_loaded():
    code = (
        "import sys, core.network.activations, core.network.backbones as b, core.network.layers; b.backbones();"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
