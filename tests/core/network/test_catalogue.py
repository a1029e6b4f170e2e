"""The layer catalogue: known numbers of known networks, names that stay, and the choice of layers."""

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from core.network.catalogue import (
    LayerInfo,
    catalogue,
    layer_tensors,
    open_network,
    select_default_layers,
    select_layers,
)
from core.network.models.registry import load_network
from core.network.operations import connect


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
    assert [layer.layer for layer in layers if layer.is_output] == ["predictions"]
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


def test_layers_are_called_what_keras_calls_them_and_operations_that_are_none_by_position():
    model = residual_model()
    layers = catalogue(model)
    operations = {"Input": "input", "Add": "add_3", "Multiply": "multiply_4"}
    assert [layer.kind for layer in layers] == [
        "Input", "Conv2D", "Conv2D", "Add", "Multiply", "MaxPooling2D", "Dense"
    ]  # fmt: skip
    for layer in layers:
        if layer.kind in operations:
            assert layer.layer == operations[layer.kind]
        else:
            assert model.get_layer(layer.layer).output.shape[1:] == layer.output_shape
    assert layers[1].layer == "first_conv"


def numbered_model() -> keras.Model:
    """Two convolutions that Keras calls conv2d and conv2d_1, of 4 and 8 channels, whatever was built before."""
    keras.backend.clear_session()
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.MaxPooling2D(),
                             keras.layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D(),
                             keras.layers.Dense(3)])  # fmt: skip


def test_a_number_in_a_name_is_kerass():
    """By position, `conv2d_1` would be the first convolution."""
    layers = catalogue(numbered_model())
    names = ["input", "conv2d", "max_pooling2d", "conv2d_1", "global_average_pooling2d", "dense"]
    assert [layer.layer for layer in layers] == names
    assert [layer.channels for layer in select_layers(layers, "conv2d_1")] == [8]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore")
def test_names_are_those_of_the_file(suffix, tmp_path):
    numbered_model().save(tmp_path / f"saved{suffix}")
    keras.layers.Conv2D(2, 3)  # Keras counts on; the file does not
    model = load_network(None, str(tmp_path / f"saved{suffix}")).model
    convolutions = {layer.layer: layer.channels for layer in catalogue(model) if layer.kind == "Conv2D"}
    assert convolutions == {"conv2d": 4, "conv2d_1": 8}
    assert model.get_layer("conv2d_1").filters == 8


def test_a_position_or_a_suffix_is_no_name_that_another_layer_bears():
    """The sum would be add_3, the second use of `conv` would be conv_2, and the pixels would be input."""
    image = keras.Input((8, 8, 3), name="image")
    conv = keras.layers.Conv2D(3, 1, name="conv")
    x = keras.layers.Conv2D(3, 1, name="input")(conv(image))
    x = keras.layers.Conv2D(3, 1, name="add_3")(x + image)
    x = keras.layers.ReLU(name="conv_2")(x)
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="add_3_2")(conv(x)))
    names = ["input_2", "conv", "input", "add_3_3", "add_3", "conv_3", "add_3_2"]
    assert [layer.layer for layer in catalogue(model)] == names
    assert list(layer_tensors(model)) == names


def backbone(name: str) -> keras.Model:
    """Two convolutions called conv1 and conv2."""
    pixels = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(6, 3, name="conv1")(pixels)
    return keras.Model(pixels, keras.layers.Conv2D(8, 3, name="conv2")(hidden), name=name)


def two_backbones() -> keras.Model:
    pixels = keras.Input((8, 8, 3))
    sides = [
        keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(backbone(name)(pixels)) for name in ("left", "right")
    ]
    return keras.Model(pixels, keras.layers.Dense(3, name="head")(keras.layers.Concatenate(name="both")(sides)))


def ensemble() -> keras.Model:
    pixels = keras.Input((8, 8, 3))
    members = [
        keras.Sequential([backbone("body"), keras.layers.Flatten(), keras.layers.Dense(2, name="head")], name=name)
        for name in ("first", "second")
    ]
    return keras.Model(pixels, keras.layers.Average()([member(pixels) for member in members]))


def headed_again() -> keras.Model:
    """A Sequential whose body is another one; both have a layer `conv1`."""
    body = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv1")], name="body")
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            body,
            keras.layers.Conv2D(2, 3, name="conv1"),
            keras.layers.GlobalMaxPooling2D(name="pool"),
        ]
    )


def three_levels() -> keras.Model:
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1, name="conv1")], name="inner")
    middle_image = keras.Input((8, 8, 3))
    middle = keras.Model(middle_image, keras.layers.Conv2D(3, 1, name="conv1")(inner(middle_image)), name="middle")
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Conv2D(3, 1, name="conv1")(middle(image)))


NESTED = {
    two_backbones: {
        "left/conv1",
        "left/conv2",
        "right/conv1",
        "right/conv2",
        "left_pool",
        "right_pool",
        "both",
        "head",
    },
    ensemble: {f"{member}/{name}" for member in ("first", "second") for name in ("body/conv1", "body/conv2", "head")},
    headed_again: {"body/conv1", "conv1", "pool"},
    three_levels: {"middle/inner/conv1", "middle/conv1", "conv1"},
}


@pytest.mark.parametrize("build", NESTED, ids=lambda build: build.__name__)
def test_layers_of_nested_models_are_called_by_their_paths(build):
    model = build()
    assert {layer.layer for layer in catalogue(model)} == {"input"} | NESTED[build]
    for name in NESTED[build]:
        found = model
        for part in name.split("/"):
            found = found.get_layer(part)
        assert found.name == name.rpartition("/")[2]


@pytest.mark.parametrize("build", NESTED, ids=lambda build: build.__name__)
def test_activations_of_nested_models_are_those_of_the_network(build):
    """Equal names in two nested models meet in one graph here, and keep their names for others."""
    model = build()
    images = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    tensors = layer_tensors(model)
    outputs = connect(model.inputs[0], tensors)(images)
    assert set(outputs) == {"input"} | NESTED[build]
    last = connect(model.inputs[0], open_network(model).outputs[0])
    assert np.allclose(last(images), model(images), atol=1e-5)
    assert {layer.layer for layer in catalogue(model)} == {"input"} | NESTED[build]


def test_the_numbers_of_two_backbones_are_those_of_each():
    model = two_backbones()
    images = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    outputs = connect(model.inputs[0], layer_tensors(model))(images)
    for side in ("left", "right"):
        assert np.allclose(outputs[f"{side}/conv2"], model.get_layer(side)(images), atol=1e-5)


def test_blocks_of_nested_models():
    image = keras.Input((4, 4, 3))
    inner_image = keras.Input((4, 4, 3))
    inner = keras.Model(inner_image, keras.layers.Conv2D(3, 1, name="conv2_block1_conv")(inner_image), name="body")
    assert catalogue(keras.Model(image, inner(image)))[1].block == "body/conv2_block1"


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("left/conv1", ["left/conv1"]),
        ("left/*", ["left/conv1", "left/conv2"]),
        ("*conv1", ["left/conv1", "right/conv1"]),
        ("conv?", ["left/conv1", "left/conv2", "right/conv1", "right/conv2"]),
        ("conv2,head", ["left/conv2", "right/conv2", "head"]),
        ("main", ["left/conv1", "left/conv2", "right/conv1", "right/conv2"]),
        ("last_pool,output", ["left_pool", "right_pool", "head"]),
    ],
)
def test_patterns_in_nested_models(patterns, names):
    assert {layer.layer for layer in select_layers(catalogue(two_backbones()), patterns)} == set(names)


def test_a_full_name_means_that_layer_alone():
    assert [layer.layer for layer in select_layers(catalogue(headed_again()), "conv1")] == ["conv1"]


def test_a_wrong_name_is_told_the_path():
    with pytest.raises(ValueError, match=r"Did you mean .*left/conv1"):
        select_layers(catalogue(two_backbones()), "conf1")


def small_network(*tail: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"), *tail])


@pytest.mark.parametrize(
    ("tail", "names"),
    [
        (("GlobalAveragePooling2D", "Dense"), ["conv", "pool", "last"]),
        (("GlobalMaxPooling2D", "Dense"), ["conv", "pool", "last"]),
        (("MaxPooling2D", "Flatten", "Dense"), ["conv", "pool", "last"]),
        (("Flatten", "Dense"), ["conv", "last"]),
        (("GlobalAveragePooling2D", "Dense", "Softmax"), ["conv", "pool", "last"]),
        (("GlobalAveragePooling2D",), ["conv", "pool"]),
        ((), ["conv"]),
    ],
)  # fmt: skip
def test_the_default_has_pooling_and_output_whatever_they_are_called(tail, names):
    layers = keras.layers
    known = {"Dense": layers.Dense(2, name="last"), "Flatten": layers.Flatten(), "Softmax": layers.Softmax()}
    model = small_network(*(known[kind] if kind in known else getattr(layers, kind)(name="pool") for kind in tail))
    assert [layer.layer for layer in select_default_layers(catalogue(model))] == names


def test_the_default_of_a_network_without_main_layers_is_all():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3, name="hidden"),
                              keras.layers.Dense(2, name="last")])  # fmt: skip
    assert [layer.layer for layer in select_default_layers(catalogue(model))] == ["input", "hidden", "last"]


def test_the_default_of_the_bundled_networks_is_what_it_was(b0, lite0):
    for model in (b0, lite0):
        layers = catalogue(model)
        assert select_default_layers(layers) == select_layers(layers, "main,avg_pool,predictions")


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
    inner_names = ["inner_conv", "inner_add", "inner_conv_2", "inner_add_2"]
    names = ["input", *[f"inner/{name}" for name in inner_names], "avg_pool", "predictions"]
    assert [layer.layer for layer in layers] == names
    assert [layer.cumulative_parameters for layer in layers] == [0, 84, 84, 84, 84, 84, 92]
    tensors = layer_tensors(model)
    images = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    outputs = keras.Model(model.inputs[0], tensors)(images)
    once = inner(augment(images))
    assert np.allclose(outputs["inner/inner_add"], once, atol=1e-6)
    assert np.allclose(outputs["inner/inner_add_2"], inner(once), atol=1e-5)
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


def test_the_name_of_a_layer_may_have_commas():
    layers = [replace(LAYERS[0], layer="conv,1"), replace(LAYERS[1], layer="conv"), replace(LAYERS[2], layer="1")]
    assert [layer.layer for layer in select_layers(layers, "conv,1")] == ["conv,1"]
    assert [layer.layer for layer in select_layers(layers[1:], "conv,1")] == ["conv", "1"]


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
        "import sys, core.network.activations, core.network.catalogue; import core.network.models.registry as b;"
        "b.backbones();"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("projection", [False, True])
def test_where_keras_made_up_the_names_each_residual_sum_ends_its_own_block(projection):
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv2d")(image)
    for number in range(2):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv2d_{3 * number + 1}")(x)
        y = layers.Conv2D(4, 3, padding="same", name=f"conv2d_{3 * number + 2}")(layers.ReLU()(y))
        short = layers.Conv2D(4, 1, name=f"conv2d_{3 * number + 3}")(x) if projection else x
        x = layers.ReLU()(layers.Add(name=f"add_{number}" if number else "add")([y, short]))
    x = layers.Conv2D(4, 1, name="conv2d_9")(x)
    x = layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D(name="global_average_pooling2d")(x))
    found = catalogue(keras.Model(image, x))
    convs = 2 + projection
    ends = ["add"] * (convs + 1) + ["add_1"] * (convs + 1)
    assert [one.block for one in found] == ["input", "conv2d", *ends, "conv2d_9", "global", "dense"]
    chosen = [one.layer for one in select_layers(found, "blocks")]
    assert chosen == ["conv2d", "add", "add_1", "conv2d_9", "global_average_pooling2d"]


def test_a_sum_whose_name_keras_made_up_is_in_the_block_that_other_names_tell():
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem_conv")(image)
    for number in range(2):
        y = layers.Conv2D(4, 3, padding="same", name=f"stage_0_block_{number}_conv")(x)
        x = layers.Add(name=f"add_{number + 3}")([y, x])
    blocks = [one.block for one in catalogue(keras.Model(image, x))]
    # The second sum is the output: nothing depends on it, and it ends no block that could be taken out.
    assert blocks[:4] == ["input", "stem", "stage_0_block_0", "stage_0_block_0"]
