"""Networks cut, topped with a classifier, and bypassed: small ones whose numbers are worked out by hand, and Lite0."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from core.network.catalogue import layer_tensors  # noqa: E402
from core.network.cutting import (  # noqa: E402
    bypass_blocks,
    cut_network,
    largest_units,
    linear_head,
    nearest_head,
    residual_layers,
    with_head,
)
from core.network.models.registry import load_network  # noqa: E402
from core.search.neighbors import nearest_neighbors  # noqa: E402

PIXELS = np.random.default_rng(0).uniform(0, 255, (3, 4, 4, 3)).astype(np.float32)


def residual_network() -> "keras.Model":
    """x, then x + 2x, then that plus 4 times that, averaged over space: 3 times 5 times the mean."""
    image = keras.Input((4, 4, 3), name="image")
    x = image
    for block, factor in (("block1a", 2.0), ("block1b", 4.0)):
        identity = keras.initializers.Constant(np.eye(3)[None, None] * factor)
        conv = keras.layers.Conv2D(3, 1, use_bias=False, kernel_initializer=identity, name=f"{block}_conv")(x)
        x = keras.layers.Add(name=f"{block}_add")([conv, x])
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="avg_pool")(x), name="small")


@pytest.fixture(scope="module")
def small():
    return residual_network()


@pytest.fixture(scope="module")
def lite0():
    return load_network("efficientnet-lite0", "none")


def run(model, images) -> np.ndarray:
    return np.asarray(model(images, training=False))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", 3 * PIXELS.mean(axis=(1, 2))), ("flat", 3 * PIXELS.reshape(3, -1)), ("none", 3 * PIXELS)],
)
def test_a_cut_network_gives_the_layer_pooled(small, pooling, expected):
    assert run(cut_network(small, "block1a_add", pooling=pooling), PIXELS) == pytest.approx(expected, rel=1e-5)


def test_the_pixels_and_a_layer_without_space_can_be_cut_at(small):
    assert run(cut_network(small, "input"), PIXELS) == pytest.approx(PIXELS.mean(axis=(1, 2)), rel=1e-5)
    assert run(cut_network(small, "avg_pool", pooling="flat"), PIXELS) == pytest.approx(run(small, PIXELS))


def test_a_cut_of_two_backbones_has_the_layers_of_both(tmp_path):
    """Both have a layer conv1: Keras refuses equal names in a file, so the copies in it bear their paths."""
    image = keras.Input((4, 4, 3))
    sides = []
    for name, factor in (("left", 2.0), ("right", 5.0)):
        identity = keras.initializers.Constant(np.eye(3)[None, None] * factor)
        inner = keras.Input((4, 4, 3))
        conv = keras.layers.Conv2D(3, 1, use_bias=False, kernel_initializer=identity, name="conv1")(inner)
        sides.append(keras.Model(inner, conv, name=name)(image))
    model = keras.Model(image, keras.layers.Add(name="sum")(sides))
    cut_network(model, "sum").save(tmp_path / "sum.keras")
    loaded = keras.models.load_model(tmp_path / "sum.keras", compile=False)
    assert run(loaded, PIXELS) == pytest.approx(7 * PIXELS.mean(axis=(1, 2)), rel=1e-5)
    assert {"left_conv1", "right_conv1"} <= {layer.name for layer in loaded.layers}
    assert run(cut_network(model, "right/conv1"), PIXELS) == pytest.approx(5 * PIXELS.mean(axis=(1, 2)), rel=1e-5)
    assert [layer.name for layer in model.layers[1].layers[1:]] == ["conv1"], "the network itself stays as it is"


def test_what_is_above_the_cut_is_gone(small):
    assert cut_network(small, "block1a_add").count_params() == 9
    assert small.count_params() == 18


@pytest.mark.parametrize("layer", ["block3b_add", "top_conv"])
def test_a_saved_cut_of_a_real_network_gives_the_same_activations(lite0, layer, tmp_path):
    cut_network(lite0.model, layer).save(tmp_path / "cut.keras")
    images = np.random.default_rng(1).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    whole = run(keras.Model(lite0.model.inputs[0], layer_tensors(lite0.model)[layer]), images)
    loaded = keras.models.load_model(tmp_path / "cut.keras", compile=False)
    assert "predictions" not in {layer.name for layer in loaded.layers}
    found = run(loaded, images)
    assert found == pytest.approx(whole.mean(axis=(1, 2)), abs=1e-5 * max(1.0, float(np.abs(whole).max())))


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("block1a_ad", {}, "got 'block1a_ad'. Did you mean block1a_add"),
        ("conv2_block3", {}, "`python -m core layers MODEL` lists the layers"),
        ("block1a_add", {"pooling": "max"}, "pooling must be one of mean, flat, none; got 'max'"),
    ],
)
def test_what_cannot_be_cut_is_said(small, layer, options, message):
    with pytest.raises(ValueError, match=message):
        cut_network(small, layer, **options)


def test_a_linear_head_scores_as_its_weights_say():
    head = linear_head([[1.0, 0.0], [0.0, 2.0]], [0.0, -1.0])
    assert run(head, np.float32([[1, 1], [3, 1]])).tolist() == [[1, 1], [3, 1]]


def test_the_nearest_head_names_the_class_of_the_nearest_sample():
    head = nearest_head([[0.0], [1.0], [10.0]], [0, 1, 1], 2)
    assert run(head, np.float32([[0.4], [0.6], [99]])).tolist() == [[1, 0], [0, 1], [0, 1]]


def test_of_equally_near_samples_the_first_counts():
    head = nearest_head([[0, 0], [1000, 1000], [1000, 1001], [0, 0]], [2, 0, 1, 0], 3)
    found = run(head, np.float32([[1, 1], [1000, 1000.2], [999, 1003]]))
    assert found.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_the_nearest_head_agrees_with_the_exact_search_far_from_the_origin():
    rng = np.random.default_rng(0)
    train, test = (np.float32(rng.normal(50, 0.5, (size, 20))) for size in (300, 200))
    codes = rng.integers(0, 5, 300)
    nearest = nearest_neighbors(train, queries=test).indices[:, 0]
    assert run(nearest_head(train, codes, 5), test).argmax(axis=1).tolist() == codes[nearest].tolist()


@pytest.mark.parametrize("kind", ["linear", "nearest"])
def test_a_headed_network_loads_without_this_project(small, tmp_path, kind):
    heads = {
        "linear": lambda: linear_head(np.eye(3), np.zeros(3)),
        "nearest": lambda: nearest_head(np.eye(3), [2, 1, 0], 3),
    }
    model = with_head(cut_network(small, "block1a_add"), heads[kind]())
    model.save(tmp_path / "headed.keras")
    loaded = keras.models.load_model(tmp_path / "headed.keras", compile=False)
    assert run(loaded, PIXELS) == pytest.approx(run(model, PIXELS))


def test_the_sums_of_residual_blocks(small, lite0):
    assert residual_layers(small) == ("block1a_add", "block1b_add")
    assert [name[5:7] for name in residual_layers(lite0.model)] == [
        "2b",
        "3b",
        "4b",
        "4c",
        "5b",
        "5c",
        "6b",
        "6c",
        "6d",
    ]


def test_a_nested_network_has_the_same_blocks(small):
    image = keras.Input((4, 4, 3))
    nested = keras.Model(image, small(image))
    assert residual_layers(nested) == tuple(f"small/{name}" for name in residual_layers(small))
    outputs = bypass_blocks(nested, [["small/block1a_add"]])(PIXELS, training=False)
    assert np.asarray(outputs[1]) == pytest.approx(5 * PIXELS.mean(axis=(1, 2)), rel=1e-5)


def test_bypassed_blocks_are_out_alone_and_together(small):
    groups = [["block1a_add"], ["block1b_add"], ["block1b_add", "block1a_add"]]
    outputs = [np.asarray(output) for output in bypass_blocks(small, groups)(PIXELS, training=False)]
    mean = PIXELS.mean(axis=(1, 2))
    for output, factor in zip(outputs, (15, 5, 3, 1), strict=True):
        assert output == pytest.approx(factor * mean, rel=1e-5)


def test_a_projection_on_the_shortcut_goes_on():
    image = keras.Input((4, 4, 3))
    ones = {"kernel_initializer": "ones", "use_bias": False}
    short = keras.layers.Conv2D(2, 1, **ones, name="short_conv")(image)
    long = keras.layers.Conv2D(2, 1, **ones, name="b_conv")(keras.layers.Conv2D(2, 1, **ones, name="a_conv")(image))
    total = keras.layers.Add(name="block1_add")([short, long])
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(total))
    bypassed = bypass_blocks(model, [["block1_add"]])(PIXELS, training=False)[1]
    assert np.asarray(bypassed) == pytest.approx(
        np.repeat(PIXELS.sum(axis=3).mean(axis=(1, 2))[:, None], 2, 1), rel=1e-5
    )


def test_a_sum_that_later_layers_go_around_cannot_be_bypassed(small):
    image = keras.Input((4, 4, 3))
    inner = keras.layers.Add(name="inner_add")([keras.layers.Conv2D(3, 1, name="c")(image), image])
    outer = keras.layers.Add(name="outer_add")([keras.layers.Conv2D(3, 1, name="d")(inner), image])
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(outer))
    assert residual_layers(model) == ("outer_add",)
    with pytest.raises(ValueError, match=r"got 'inner_add'\. This network has outer_add"):
        bypass_blocks(model, [["inner_add"]])


def test_the_largest_units_come_batch_by_batch(small):
    found = largest_units(bypass_blocks(small, [["block1a_add"]]), lambda rows: PIXELS[rows], 3, batch_size=2)
    assert found.tolist() == [PIXELS.mean(axis=(1, 2)).argmax(axis=1).tolist()] * 2


def test_a_network_without_a_head_names_nothing(small):
    with pytest.raises(ValueError, match=r"model must end in one number per class; got an output of shape \(4, 4, 3\)"):
        largest_units(cut_network(small, "block1a_add", pooling="none"), lambda rows: PIXELS[rows], 3)
