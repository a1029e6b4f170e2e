"""Activations: the plan's passes, and numbers that do not depend on it."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.network import activations
from core.network.activations import default_batch_size, stream_pass
from core.network.catalogue import boundary_layers, catalogue, select_layers
from core.network.models.registry import Network, load_network
from core.network.passes import Pass, plan_passes

BOTH = ("flat", "mean")


@pytest.fixture(scope="module")
def lite0() -> Network:
    return load_network("efficientnet-lite0", "none")


@pytest.fixture(scope="module")
def b0() -> Network:
    return load_network("efficientnet-b0", "none")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (5, 224, 224, 3)).astype(np.float32)


def whole_pass(network: Network, patterns: str) -> Pass:
    return Pass(select_layers(catalogue(network.model), patterns), 0)


def test_values_are_the_plain_models(lite0, images):
    """Five images in batches of two: the last one is filled up."""
    seen: list[tuple[int, int]] = []
    pass_ = whole_pass(lite0, "input,stem_conv,block2b_add,avg_pool,predictions")
    found = stream_pass(
        lite0,
        pass_,
        images.__getitem__,
        5,
        poolings=BOTH,
        batch_size=2,
        progress=lambda *done: seen.append(done),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
    spatial = ["input", "stem_conv", "block2b_add"]
    assert list(found) == [(name, pooling) for name in spatial for pooling in BOTH] + [
        ("avg_pool", "flat"),
        ("predictions", "flat"),
    ]
    assert (found["input", "flat"] == images.reshape(5, -1)).all()
    assert all(array.dtype == np.float32 and len(array) == 5 for array in found.values())
    names = [layer.layer for layer in pass_.layers[1:]]
    plain = keras.Model(lite0.model.inputs[0], {name: lite0.model.get_layer(name).output for name in names})(images)
    for name in names:
        expected = np.asarray(plain[name])
        assert np.allclose(found[name, "flat"], expected.reshape(5, -1), rtol=1e-4, atol=1e-5)
    for name in spatial:
        flat = found[name, "flat"].reshape(5, -1, found[name, "mean"].shape[1])
        assert np.allclose(found[name, "mean"], flat.mean(axis=1, dtype=np.float64), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["lite0", "b0"])
def test_the_budget_does_not_change_a_bit(name, images, request):
    """All layers in one pass, in three or more, and one or two a pass: the same numbers exactly."""
    network = request.getfixturevalue(name)
    layers = select_layers(catalogue(network.model), "input,stem_conv,block1a_*,block2*,block7a_*,avg_pool,predictions")
    total = plan_passes(layers, 5, BOTH, 10**9)[0].num_bytes
    largest = max(plan_passes((layer,), 5, BOTH, 10**9)[0].num_bytes for layer in layers)
    plans = [plan_passes(layers, 5, BOTH, budget) for budget in (total, max(total // 3, largest), largest)]
    assert len(plans[0]) == 1
    assert 3 <= len(plans[1]) <= len(plans[2])
    results = [run(network, plan, images) for plan in plans]
    for other in results[1:]:
        assert list(other) == list(results[0])
        different = [key for key in other if not np.array_equal(other[key], results[0][key])]
        assert different == []


@pytest.mark.parametrize("name", ["lite0", "b0"])
def test_a_boundary_does_not_change_a_bit(name, images, request):
    """Twelve passes or so that start where the one before stopped, against one pass."""
    network = request.getfixturevalue(name)
    layers = select_layers(catalogue(network.model), "main,predictions")
    (whole,) = plan_passes(layers, 5, ("flat",), 10**9)
    expected = stream_pass(network, whole, images.__getitem__, 5, poolings=("flat",), batch_size=2)
    passes = plan_passes(layers, 5, ("flat",), 28 << 20, boundaries=boundary_layers(network.model))
    assert sum(part.start is not None for part in passes) >= 3
    start = None
    for part in passes:
        found = stream_pass(
            network,
            part,
            no_images if part.start else images.__getitem__,
            5,
            poolings=("flat",),
            batch_size=2,
            start=start,
        )
        assert [k for k in found if k in expected and not np.array_equal(found[k], expected[k])] == []
        if part.keep != part.start:
            start = None if part.keep is None else found[part.keep.layer, "flat"]


def no_images(rows: np.ndarray) -> np.ndarray:
    raise AssertionError("an image was loaded")


def test_slices_do_not_change_a_bit(lite0, images):
    pass_ = whole_pass(lite0, "block1a_project_conv")
    whole = stream_pass(lite0, pass_, images.__getitem__, 5, poolings=BOTH, batch_size=2)
    for columns in (slice(0, 16384), slice(16384, 200_704)):
        part = stream_pass(lite0, pass_, images.__getitem__, 5, poolings=BOTH, batch_size=2, columns=columns)
        assert np.array_equal(part["block1a_project_conv", "flat"], whole["block1a_project_conv", "flat"][:, columns])
        assert np.array_equal(part["block1a_project_conv", "mean"], whole["block1a_project_conv", "mean"])


def run(network: Network, passes: tuple[Pass, ...], images: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    found: dict[tuple[str, str], np.ndarray] = {}
    for pass_ in passes:
        found |= stream_pass(network, pass_, images.__getitem__, len(images), poolings=BOTH, batch_size=2)
    return found


def test_the_network_runs_only_as_deep_as_needed(images):
    """An operation beyond the pass's last layer would fail."""
    image = keras.Input((224, 224, 3))
    x = keras.layers.Conv2D(2, 3, name="first_conv")(image)
    model = keras.Model(image, Broken(name="last_conv")(x))
    network = Network("small", "none", model, (224, 224), "", "")
    pass_ = Pass((next(layer for layer in catalogue(model) if layer.layer == "first_conv"),), 0)
    assert stream_pass(network, pass_, images.__getitem__, 1, poolings=("mean",))["first_conv", "mean"].shape == (1, 2)


class Broken(keras.layers.Layer):
    """Has a shape, but cannot run."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            return x
        raise AssertionError("it ran")


def test_a_batch_of_one_is_filled_up_like_any_other(lite0, images):
    """The numbers of an image do not depend on how many images there are."""
    pass_ = whole_pass(lite0, "block2b_add,predictions")
    one = stream_pass(lite0, pass_, images.__getitem__, 1, poolings=BOTH, batch_size=2)
    five = stream_pass(lite0, pass_, images.__getitem__, 5, poolings=BOTH, batch_size=2)
    assert all(np.array_equal(one[key][0], five[key][0]) for key in one)


def test_only_the_last_batch_is_copied_to_be_filled_up(lite0, images):
    batches, given = [images[:2], images[2:4], images[4:]], []

    def forward(batch):
        given.append(batch)
        return [batch[:, 0, 0, :]]

    pass_ = Pass((catalogue(lite0.model)[0],), 0)
    found = stream_pass(
        lite0, pass_, lambda rows: batches[rows[0] // 2], 5, poolings=("mean",), batch_size=2, forward=forward
    )
    as_loaded = [batch for batch in given if any(batch is loaded for loaded in batches)]  # they run side by side
    assert {id(batch) for batch in as_loaded} == {id(batches[0]), id(batches[1])}
    (filled,) = (batch for batch in given if not any(batch is loaded for loaded in batches))
    np.testing.assert_array_equal(filled, images[[4, 4]])
    np.testing.assert_array_equal(found["input", "mean"], images[:, 0, 0, :])


def test_rows_come_in_order_from_one_other_thread(lite0, images):
    calls: list[tuple[list[int], int]] = []

    def load(rows: np.ndarray) -> np.ndarray:
        calls.append((rows.tolist(), threading.get_ident()))
        return images[rows]

    stream_pass(lite0, whole_pass(lite0, "input"), load, 5, poolings=("mean",), batch_size=2)
    assert [rows for rows, _ in calls] == [[0, 1], [2, 3], [4]]
    assert len({thread for _, thread in calls}) == 1
    assert calls[0][1] != threading.get_ident()


def test_an_error_of_load_comes_through_unchanged(lite0, images):
    error = OSError("cannot read Rex.jpg")

    def load(rows: np.ndarray) -> np.ndarray:
        if rows[0] == 2:
            raise error
        return images[rows]

    with pytest.raises(OSError, match=r"Rex\.jpg") as caught:
        stream_pass(lite0, whole_pass(lite0, "input"), load, 5, poolings=("mean",), batch_size=2)
    assert caught.value is error


def test_two_batches_are_in_the_network_at_once_and_are_put_where_they_belong(lite0, images):
    """The second batch is waited for by the first one, which would never end if they came one after the other."""
    both_started = threading.Barrier(2, timeout=60)

    def forward(batch: np.ndarray) -> list[np.ndarray]:
        if (batch[0] == images[4]).all():  # the last one has no other beside it
            return [batch[:, 0, 0, :]]
        both_started.wait()
        return [batch[:, 0, 0, :]]

    seen: list[int] = []
    found = stream_pass(
        lite0,
        whole_pass(lite0, "input"),
        images.__getitem__,
        5,
        poolings=("mean",),
        batch_size=2,
        forward=forward,
        progress=lambda done, total: seen.append(done),
    )
    np.testing.assert_array_equal(found["input", "mean"], images[:, 0, 0, :])
    assert seen == [2, 4, 5]


def test_batches_at_once_do_not_share_kernels(monkeypatch):
    """A sum that TensorFlow fuses into the convolution before it: its kernel keeps pointers from run to run."""
    image = keras.Input((16, 16, 3))
    stem = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    added = keras.layers.Add(name="added")([stem, keras.layers.Conv2D(4, 3, padding="same")(stem)])
    network = Network("sum", "none", keras.Model(image, added), (16, 16), "", "")
    pass_ = whole_pass(network, "added")
    pixels = np.random.default_rng(0).random((108, 16, 16, 3), np.float32)

    def run() -> np.ndarray:
        return stream_pass(network, pass_, pixels.__getitem__, 108, poolings=("flat",), batch_size=4)["added", "flat"]

    monkeypatch.setattr("core.network.activations.batches_at_once", lambda: 1)
    expected = run()
    monkeypatch.undo()
    for _ in range(20):
        np.testing.assert_array_equal(run(), expected)


def test_where_the_reader_stops_no_further_batch_begins(lite0, images):
    """As when the run is interrupted: batches that have begun end, others never do."""
    calls: list[int] = []

    def load(rows: np.ndarray) -> np.ndarray:
        calls.append(int(rows[0]))
        return images[:1]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream_pass(lite0, whole_pass(lite0, "input"), load, 50, poolings=("mean",), batch_size=1, progress=stop)
    assert set(calls) <= {0, 1, 2}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("load-images", "run-network"))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.astype(np.uint8), "got uint8 of shape"),
        (lambda x: x[:, :200], r"got float32 of shape \(2, 200, 224, 3\)"),
        (lambda x: x[:1], r"shape \(2, 224, 224, 3\); got float32 of shape \(1, 224"),
    ],
)
def test_images_of_another_shape_or_type_are_an_error(change, message, lite0, images):
    with pytest.raises(ValueError, match=message):
        stream_pass(
            lite0,
            whole_pass(lite0, "input"),
            lambda rows: change(images[rows]),
            5,
            poolings=("mean",),
            batch_size=2,
        )


def test_no_samples_are_an_error(lite0, images):
    with pytest.raises(ValueError, match="at least 1; got 0"):
        stream_pass(lite0, whole_pass(lite0, "input"), images.__getitem__, 0, poolings=("mean",))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_means_are_taken_before_the_next_operation_reads_the_activations(dtype):
    """So that it can overwrite them in place; the means are those of the plain model, to the last bit."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    hidden = keras.layers.Conv2D(4, 3, use_bias=False, dtype=dtype, name="conv")(inputs)
    hidden = keras.layers.BatchNormalization(dtype=dtype, name="normalized")(hidden)
    hidden = keras.layers.ReLU(6.0, dtype=dtype, name="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, dtype=dtype, name="last")(hidden))
    network, pass_ = Network("small", "none", model, (16, 16), "", ""), Pass(tuple(catalogue(model)), 0)
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)

    forward = activations._forward(network, activations._wanted(pass_, ("mean",), None, None), 2, None)
    operations = forward.get_concrete_function().graph.get_operations()
    names = [layer.layer for layer in pass_.layers if layer.layer != "input"]
    plain = keras.Model(inputs, {name: model.get_layer(name).output for name in names})

    def plain_means(images: tf.Tensor) -> list[tf.Tensor]:
        outputs = plain(images, training=False)
        return [tf.reduce_mean(tf.cast(outputs[name], tf.float32), axis=[1, 2]) for name in names]

    expected = tf.function(plain_means)(images)
    found = [mean for layer, mean in zip(pass_.layers, forward(images), strict=True) if layer.layer != "input"]
    assert all(np.array_equal(mean, other) for mean, other in zip(found, expected, strict=True))
    conv = next(operation for operation in operations if operation.type == "Conv2D").outputs[0]
    (mean,) = [operation for operation in operations if operation.type == "Mean" and _comes_from(operation, conv)]
    readers = [reader for reader in conv.consumers() if reader is not mean and reader is not mean.inputs[0].op]
    assert readers
    assert all(mean in reader.control_inputs for reader in readers)


def _comes_from(mean: tf.Operation, activations: tf.Tensor) -> bool:
    """Whether a mean is that of some activations, cast to float32 or as they are."""
    source = mean.inputs[0].op
    return mean.inputs[0] is activations or (source.type == "Cast" and source.inputs[0] is activations)


@pytest.mark.parametrize(("gpus", "expected"), [([], 8), (["GPU:0"], 32)])
def test_a_batch_is_larger_on_a_gpu(monkeypatch, gpus, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    assert default_batch_size() == expected
