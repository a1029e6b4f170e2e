"""Training in two phases: what Keras itself would learn, cached or not, interrupted or not."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from core.network.models.registry import load_network
from core.training.augmentation import Augmentation
from core.training.inputs import ComputedActivations, TrainingData
from core.training.options import Execution, TrainingOptions
from core.training.phases import TrainingProgress, clean_up, train, with_head
from core.training.saved_state import EpochResult
from core.training.tails import HeadedNetwork

pytestmark = pytest.mark.slow

STILL = Augmentation(0, 0, 0, flip=False)
OPTIONS = TrainingOptions(
    head_epochs=3, tail_epochs=2, tail_learning_rate=1e-3, batch_size=16, unfreeze="block2a_conv", augmentation=STILL
)
CACHED, PLAIN = Execution(num_variants=2), Execution(num_variants=None)
NUM_TRAIN, NUM_TEST = 40, 21


def backbone() -> keras.Model:
    layers, size = keras.layers, 12

    def conv(channels: int, name: str, strides: int = 1) -> keras.layers.Layer:
        initializer = keras.initializers.GlorotUniform(seed=len(name) + channels)
        return layers.Conv2D(channels, 3, strides, padding="same", kernel_initializer=initializer, name=name)

    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-1, name="rescaling")(image)
    stem = conv(6, "stem_conv", 2)(x)
    x = layers.ReLU(name="block1a_activation")(
        layers.BatchNormalization(name="block1a_bn")(conv(6, "block1a_conv")(stem))
    )
    x = layers.Dropout(0.5, name="block1a_drop")(x)
    x = layers.BatchNormalization(name="block2a_bn")(conv(6, "block2a_conv")(x))
    x = layers.Add(name="block2a_add")([layers.Dropout(0.5, name="block2a_drop")(x), stem])
    x = layers.ReLU(name="top_activation")(conv(12, "top_conv")(x))
    return keras.Model(image, layers.GlobalAveragePooling2D(name="avg_pool")(x), name="tiny")


@dataclass
class Loader:
    """Images in memory, and how many of them were asked for."""

    images: np.ndarray
    asked: list[int] = field(default_factory=list)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.asked += rows.tolist()
        return self.images[rows]


@pytest.fixture
def data() -> TrainingData:
    """Noise of three tints; the splits are mixed."""
    rng = np.random.default_rng(0)
    labels = np.arange(NUM_TRAIN + NUM_TEST) % 3
    images = rng.uniform(0, 160, (len(labels), 12, 12, 3)).astype(np.float32)
    images[np.arange(len(labels)), :, :, labels] += 40
    rows = rng.permutation(len(labels))
    return TrainingData(Loader(images), labels, np.sort(rows[:NUM_TRAIN]), np.sort(rows[NUM_TRAIN:]))


def ignore(progress: TrainingProgress) -> None:
    pass


def run(
    data: TrainingData,
    folder: Path,
    options: TrainingOptions = OPTIONS,
    execution: Execution = CACHED,
    report: Callable[[TrainingProgress], None] = ignore,
) -> tuple[tuple[EpochResult, ...], HeadedNetwork]:
    folder.mkdir(exist_ok=True)
    network = with_head(backbone(), 3, options)
    return train(network, data, options, folder, execution=execution, report=report), network


def numbers(history: tuple[EpochResult, ...]) -> np.ndarray:
    return np.array([(row.loss, row.accuracy, row.val_loss, row.val_accuracy) for row in history])


def load(path: Path) -> keras.Model:
    return keras.models.load_model(path, compile=False, safe_mode=True)


def test_the_phases_and_epochs(data, tmp_path):
    history, _ = run(data, tmp_path)
    assert [(row.phase, row.epoch) for row in history] == [
        ("head", 1),
        ("head", 2),
        ("head", 3),
        ("tail", 1),
        ("tail", 2),
    ]
    assert history[-1].loss < history[0].loss


@pytest.mark.parametrize("execution", [CACHED, PLAIN], ids=["cached", "plain"])
def test_whole_batches_without_dropout_give_what_keras_fit_gives(data, tmp_path, execution):
    """An oracle: Keras's own training of the whole network, frozen by its flags. One batch an epoch has no order."""
    options = replace(OPTIONS, batch_size=NUM_TRAIN, dropout=0.0, tail_epochs=3)
    history, network = run(data, tmp_path, options, execution)

    base = backbone()
    for layer in base.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # Keras drops in fit, even in a network that was called with training=False
    start = with_head(base, 3, options)
    oracle = keras.Model(base.inputs[0], start.predictions(start.normalization(base(base.inputs[0]))))
    losses = []
    images, labels = data.load(data.train), data.labels[data.train]
    for phase, rate, epochs in (("head", options.head_learning_rate, 3), ("tail", options.tail_learning_rate, 3)):
        for layer in base.layers:
            layer.trainable = phase == "tail" and layer.name in ("block2a_conv", "top_conv")
        start.normalization.trainable = phase == "head"
        oracle.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        losses += [float(oracle.train_on_batch(images, labels)) for _ in range(epochs)]
    assert [row.loss for row in history] == pytest.approx(losses, rel=1e-4)
    assert np.allclose(network.whole(images), oracle(images), atol=1e-4)


def test_batches_at_once_do_not_share_kernels(data):
    """A sum that TensorFlow fuses into the convolution before it: its kernel keeps pointers from run to run."""
    image = keras.Input((12, 12, 3))
    stem = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    added = keras.layers.Add()([stem, keras.layers.Conv2D(4, 3, padding="same")(stem)])
    source = ComputedActivations(keras.Model(image, added), data, STILL, seed=0)
    batches = [data.train[start : start + 4] for start in range(0, NUM_TRAIN, 4)] * 4
    expected = [np.asarray(next(iter(source.test_batches([rows])))) for rows in batches]
    for _ in range(20):
        for found, right in zip(source.test_batches(batches), expected, strict=True):
            np.testing.assert_array_equal(np.asarray(found), right)


def test_cached_and_plain_training_agree(data, tmp_path):
    cached, first = run(data, tmp_path / "cached", execution=CACHED)
    plain, second = run(data, tmp_path / "plain", execution=PLAIN)
    assert np.allclose(numbers(cached), numbers(plain), rtol=1e-4, atol=1e-5)
    for left, right in zip(first.state(), second.state(), strict=True):
        assert np.allclose(left, right, atol=1e-4)


def test_the_cache_spares_the_images(data, tmp_path):
    run(data, tmp_path, replace(OPTIONS, augmentation=Augmentation()))
    assert sorted(data.load.asked) == sorted([*data.test.tolist(), *(2 * data.train.tolist())])


def test_epochs_of_a_cache_pick_among_the_variants(data, tmp_path):
    varied = replace(OPTIONS, augmentation=Augmentation())
    histories = [run(data, tmp_path / str(k), varied, Execution(k))[0] for k in (0, 2)]
    still, _ = run(data, tmp_path / "still")
    assert np.array_equal(numbers(histories[0]), numbers(still))
    assert not np.allclose(numbers(histories[1]), numbers(still), rtol=1e-3)


def test_batch_normalization_and_frozen_layers_stay_as_they_were(data, tmp_path):
    _, network = run(data, tmp_path)
    before = {variable.path: np.array(variable) for variable in backbone().variables}
    changed = {
        variable.path
        for variable in network.whole.variables
        if variable.path in before and not np.array_equal(variable, before[variable.path])
    }
    assert changed == {"block2a_conv/kernel", "block2a_conv/bias", "top_conv/kernel", "top_conv/bias"}


def test_each_epoch_sees_every_image_in_an_order_of_its_own(data, tmp_path):
    run(data, tmp_path, replace(OPTIONS, tail_epochs=0), PLAIN)
    epochs = np.reshape(data.load.asked, (3, NUM_TRAIN + NUM_TEST))
    orders = [epoch[:NUM_TRAIN].tolist() for epoch in epochs]
    assert all(sorted(order) == data.train.tolist() for order in orders)
    assert len({tuple(order) for order in [*orders, data.train.tolist()]}) == 4
    assert all(epoch[NUM_TRAIN:].tolist() == data.test.tolist() for epoch in epochs)


def test_dropout_depends_on_the_seed(data, tmp_path):
    batches = replace(OPTIONS, head_epochs=1, tail_epochs=0, batch_size=NUM_TRAIN, dropout=0.5)
    losses = {}
    for name, options in (("half", batches), ("again", batches), ("none", replace(batches, dropout=0.0))):
        losses[name] = run(data, tmp_path / name, options)[0][0].loss
    assert losses["half"] == losses["again"] != losses["none"]


class Stop(Exception):
    pass


@pytest.mark.parametrize("execution", [CACHED, PLAIN], ids=["cached", "plain"])
@pytest.mark.parametrize("after", [0, 1, 3, 4, 5], ids="after {} epochs".format)
def test_an_interrupted_training_ends_as_if_it_had_not_been(data, tmp_path, execution, after):
    options = replace(OPTIONS, augmentation=Augmentation())
    whole, expected = run(data, tmp_path / "whole", options, execution)

    def stop(progress: TrainingProgress) -> None:
        """Within the epoch that follows, or right after the last one."""
        total = 3 if progress.stage == "head" else 5
        epoch = progress.epoch + total - progress.epochs if progress.epochs else 0
        if epoch == min(after + 1, 5) and (progress.result is None) == (after < 5):
            raise Stop

    with pytest.raises(Stop):
        run(data, tmp_path / "again", options, execution, stop)
    again, network = run(data, tmp_path / "again", options, execution)
    assert again == whole
    for left, right in zip(network.whole.weights, expected.whole.weights, strict=True):
        assert np.array_equal(left, right), left.path
    for name in ("head.keras", "final.keras"):
        for left, right in zip(
            load(tmp_path / "again" / name).weights, load(tmp_path / "whole" / name).weights, strict=True
        ):
            assert np.array_equal(left, right), (name, left.path)


def test_a_cache_that_was_begun_goes_on(data, tmp_path):
    options = replace(OPTIONS, augmentation=Augmentation())

    def stop(progress: TrainingProgress) -> None:
        if progress.done > NUM_TEST + NUM_TRAIN:  # in the second copy of the training images
            raise Stop

    with pytest.raises(Stop):
        run(data, tmp_path, options, report=stop)
    data.load.asked.clear()
    run(data, tmp_path, options)
    assert sorted(data.load.asked) == data.train.tolist()


@pytest.mark.parametrize("execution", [CACHED, PLAIN], ids=["cached", "plain"])
def test_the_files_are_the_networks_after_each_phase(data, tmp_path, execution):
    history, _ = run(data, tmp_path, execution=execution)
    images, labels = data.load(data.test), data.labels[data.test]
    for name, row in (("head.keras", history[2]), ("final.keras", history[4])):
        given = np.asarray(load(tmp_path / name)(images), np.float64)
        assert -np.log(given[np.arange(NUM_TEST), labels]).mean() == pytest.approx(row.val_loss, rel=1e-4)
        assert (given.argmax(axis=1) == labels).mean() == pytest.approx(row.val_accuracy)
    assert not [layer for layer in load(tmp_path / "final.keras").layers if "Random" in type(layer).__name__]


def test_without_tail_epochs_the_head_is_the_result(data, tmp_path):
    history, _ = run(data, tmp_path, replace(OPTIONS, tail_epochs=0, unfreeze="matches nothing"))
    assert [row.phase for row in history] == ["head"] * 3
    images = data.load(data.test)
    assert np.array_equal(load(tmp_path / "head.keras")(images), load(tmp_path / "final.keras")(images))


def test_early_stopping_keeps_the_best_epoch(data, tmp_path):
    options = replace(OPTIONS, head_epochs=30, head_learning_rate=0.5, tail_epochs=0, early_stopping=2)
    history, _ = run(data, tmp_path, options)
    losses = [row.val_loss for row in history]
    assert len(losses) < 30
    assert int(np.argmin(losses)) == len(losses) - 3
    given = np.asarray(load(tmp_path / "final.keras")(data.load(data.test)), np.float64)
    picked = given[np.arange(NUM_TEST), data.labels[data.test]]
    assert -np.log(picked).mean() == pytest.approx(min(losses), rel=1e-3)


@pytest.mark.parametrize("variants", [None, 0])
def test_mixed_precision_trains_alike_and_leaves_float32(data, tmp_path, variants):
    exact, _ = run(data, tmp_path / "exact")
    mixed, _ = run(data, tmp_path / "mixed", execution=Execution(variants, mixed_precision=True))
    assert [row.val_loss for row in mixed] == pytest.approx([row.val_loss for row in exact], rel=0.02)
    model = load(tmp_path / "mixed" / "final.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {str(variable.dtype) for variable in model.variables if variable.path.endswith("kernel")} == {"float32"}


def test_clean_up_leaves_the_models(data, tmp_path):
    run(data, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "checkpoint.npz", "final.keras", "head.keras"}
    clean_up(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"final.keras", "head.keras"}


def test_a_disk_that_is_too_small_is_named_before_it_is_full(data, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"needs 138,240 bytes for frozen activations; the disk has 1,000 left"):
        run(data, tmp_path, replace(OPTIONS, augmentation=Augmentation()))


def test_a_loss_that_explodes_is_an_error(data, tmp_path):
    with pytest.raises(
        RuntimeError, match=r"the loss became nan in epoch 1 of the phase head.*--head-learning-rate 1e\+29"
    ):
        run(data, tmp_path, replace(OPTIONS, head_learning_rate=1e30))


@pytest.mark.parametrize(
    ("name", "value"),
    [("head_epochs", 0), ("tail_epochs", -1), ("batch_size", 0), ("early_stopping", 0), ("head_learning_rate", 0.0),
     ("tail_learning_rate", float("nan")), ("dropout", 1.0)],
)  # fmt: skip
def test_an_option_out_of_range_is_an_error(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be .*; got {value}"):
        TrainingOptions(**{name: value})


def test_the_defaults_are_the_notebooks():
    options = TrainingOptions()
    assert (options.head_epochs, options.tail_epochs, options.batch_size) == (25, 10, 64)
    assert (options.head_learning_rate, options.tail_learning_rate, options.dropout) == (1e-2, 1e-4, 0.2)
    assert options.augmentation == Augmentation(rotation=0.15, translation=0.1, contrast=0.1, flip=True)


def test_lite0_is_cut_below_its_last_block():
    network = with_head(load_network("efficientnet-lite0", "none").model, 5, TrainingOptions())
    assert [tuple(tensor.shape[1:]) for tensor in network.lower.outputs] == [(7, 7, 192)]
    assert {variable.path.split("/")[0] for variable in network.trainable("tail")} == {
        "block7a_expand_conv", "block7a_dwconv", "block7a_project_conv", "top_conv", "predictions",
    }  # fmt: skip
