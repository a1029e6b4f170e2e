"""SI recorded while Keras trains: the numbers are those of the activations, and the training does not notice."""

import numpy as np
import pandas as pd
import pytest

import core
from core.data.images.loading import load_images
from core.study.store.opening import StudyError
from core.training.recording.epochs import load_epoch, read_epochs, read_history, recorded_epochs
from core.training.recording.recorder import Pace
from core.training.recording.watched_samples import watched_samples

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

RNG = np.random.default_rng(0)
LABELS = RNG.integers(3, size=90)
IMAGES = np.float32(RNG.normal(size=(90, 6, 6, 2)) + LABELS[:, None, None, None])


def network():
    """With everything that behaves otherwise while training: augmentation, batch normalization, dropout."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dropout(0.4),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(callbacks=(), epochs=2, data=None, **options):
    model = network()
    given = {"x": IMAGES, "y": LABELS, "batch_size": 16} if data is None else {"x": data, "shuffle": False}
    model.fit(**given, epochs=epochs, verbose=0, callbacks=list(callbacks), **options)
    return model


def test_values_are_those_of_the_activations_at_test_time(tmp_path):
    model = trained([core.SeparationCallback((IMAGES, LABELS), out=tmp_path, num_samples=90, every=1)])
    table = read_epochs(tmp_path)
    rows = table[(table["epoch"] == 2) & (table["measure"] == "separation")].set_index("layer")
    assert list(rows.index) == ["conv", "pool", "scores"]
    for name in rows.index:
        activations = keras.Model(model.inputs[0], model.get_layer(name).output)(IMAGES, training=False).numpy()
        means = activations.mean(axis=(1, 2)) if activations.ndim == 4 else activations
        expected = core.separation_index(means, LABELS)
        assert rows.loc[name, "value"] == expected.value
        assert rows.loc[name, "chance"] == expected.chance
        assert tuple(rows.loc[name, ["low", "high"]]) == expected.interval(target="population")
    assert core.load_study(tmp_path).info["asked"]["layers"] == ["conv", "pool", "scores"]


@pytest.mark.parametrize("batched", [False, True])
def test_training_is_the_same_to_the_last_bit(tmp_path, batched):
    def data():
        pairs = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
        return pairs.shuffle(90).batch(16) if batched else None

    watched = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(7) if batched else (IMAGES, LABELS)
    alone = trained(data=data())
    recorded = trained([core.SeparationCallback(watched, out=tmp_path, num_samples=60)], data=data())
    assert len(alone.get_weights()) == len(recorded.get_weights()) > 0
    for one, other in zip(alone.get_weights(), recorded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(alone.optimizer.variables, recorded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_history_has_losses_and_what_the_callback_took(tmp_path):
    callback = core.SeparationCallback((IMAGES, LABELS), out=tmp_path, every=1)
    model = network()
    fitted = model.fit(
        IMAGES, LABELS, epochs=2, verbose=0, callbacks=[callback], validation_data=(IMAGES[:30], LABELS[:30])
    )
    history = read_history(tmp_path)
    assert history["epoch"].tolist() == [0, 1, 2]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert history[name].tolist()[1:] == fitted.history[name]
        assert np.isnan(history[name].iloc[0])
    assert (history["separation_s"] > 0).all()
    assert (history["seconds"].iloc[1:] > 0).all()


def test_every_third_epoch_and_the_last(tmp_path):
    trained([core.SeparationCallback((IMAGES, LABELS), out=tmp_path, every=3, layers="scores")], epochs=7)
    assert recorded_epochs(tmp_path) == (0, 3, 6, 7)
    assert read_history(tmp_path)["epoch"].tolist() == list(range(8))


def test_records_stay_within_their_share_of_the_time():
    pace = Pace(None, 0.05)
    pace.recorded(7.0, counts=False)  # before the first epoch
    due = []
    for epoch in range(1, 13):
        pace.trained(55.0)
        if pace.is_due(epoch):
            due.append(epoch)
            pace.recorded(7.0, counts=True)
            assert 7.0 * len(due) <= 0.05 * 55.0 * epoch
    assert due == [3, 6, 8, 11]


def test_a_record_that_got_slower_waits_longer():
    pace = Pace(None, 0.1)
    pace.recorded(1.0, counts=False)
    pace.trained(10.0)
    assert pace.is_due(1)
    pace.recorded(2.0, counts=True)
    pace.trained(10.0)
    assert not pace.is_due(2)
    pace.trained(20.0)
    assert pace.is_due(3)


def test_a_training_that_goes_on_counts_what_it_took():
    history = pd.DataFrame({"epoch": [0, 1, 2], "seconds": [np.nan, 10.0, 10.0], "separation_s": [5.0, 0.0, 1.0]})
    pace = Pace(None, 0.1)
    pace.resume(history, (0, 2))
    assert pace.is_due(3)  # 1 s spent, 1 s for one more, of 20 s
    pace.recorded(1.0, counts=True)
    assert not pace.is_due(3)


def test_by_default_the_cost_decides_and_the_study_says_so(tmp_path):
    trained([core.SeparationCallback((IMAGES, LABELS), out=tmp_path / "dear", budget=1e-9)], epochs=4)
    assert recorded_epochs(tmp_path / "dear") == (0, 4)
    trained([core.SeparationCallback((IMAGES, LABELS), out=tmp_path / "cheap", budget=1e9)], epochs=3)
    assert recorded_epochs(tmp_path / "cheap") == (0, 1, 2, 3)
    asked = core.load_study(tmp_path / "dear").info["asked"]
    assert (asked["every"], asked["budget"]) == (None, 1e-9)
    assert (read_history(tmp_path / "dear")["separation_s"] > 0).tolist() == [True, False, False, False, True]


def test_a_training_that_stops_early_ends_with_a_record(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    trained([Stop(), core.SeparationCallback((IMAGES, LABELS), out=tmp_path, every=5)], epochs=9)
    assert recorded_epochs(tmp_path) == (0, 1)
    assert core.load_study(tmp_path).info["training"]["finished"]


def test_an_interrupted_training_goes_on_in_the_same_folder(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    model = network()
    arguments = {"x": IMAGES, "y": LABELS, "verbose": 0, "epochs": 4}
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            **arguments, callbacks=[core.SeparationCallback((IMAGES, LABELS), out=tmp_path, every=1), Interrupt()]
        )
    assert not core.load_study(tmp_path).info["training"]["finished"]
    before = load_epoch(tmp_path, 2).measurements
    with pytest.raises(StudyError, match="initial_epoch=2"):
        model.fit(**arguments, callbacks=[core.SeparationCallback((IMAGES, LABELS), out=tmp_path, every=1)])
    again = core.SeparationCallback((IMAGES, LABELS), out=tmp_path, every=1)
    model.fit(**arguments, initial_epoch=2, callbacks=[again])
    assert recorded_epochs(tmp_path) == (0, 1, 2, 3, 4)
    assert load_epoch(tmp_path, 2).measurements.equals(before)


def test_layers_are_chosen_by_names_and_patterns(tmp_path):
    trained([core.SeparationCallback((IMAGES, LABELS), out=tmp_path, layers=["sc*", "conv"])], epochs=1)
    assert list(core.load_study(tmp_path).layers["layer"]) == ["conv", "scores"]


def test_images_of_core_data_are_loaded_at_the_network_s_size(tmp_path):
    images = load_images("digits", seed=0, per_class=10)
    model = keras.Sequential(
        [keras.Input((12, 12, 3)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.compile("sgd", "mse")
    callback = core.SeparationCallback(images, out=tmp_path, num_samples=50)
    model.fit(np.zeros((4, 12, 12, 3)), np.zeros((4, 10)), verbose=0, callbacks=[callback])
    study = core.load_study(tmp_path)
    assert len(study.samples) == 50
    assert set(study.samples["split"]) == {"test"}
    assert study.samples["id"].str.startswith("digits/").all()


@pytest.mark.parametrize("batch", [None, 8])
def test_a_dataset_gives_as_many_of_each_class_as_there_is_room_for(batch):
    labels = np.repeat([0, 1, 2], [50, 30, 4])
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(84.0)[:, None], labels))
    watched = watched_samples(dataset.batch(batch) if batch else dataset, 20, split="test", class_names=None, seed=0)
    assert np.bincount(watched.samples.labels).tolist() == [8, 8, 4]
    values = watched.loader((1,))(np.arange(20))[:, 0]
    assert values.astype(int).astype(str).tolist() == list(watched.samples.ids)
    assert (labels[values.astype(int)] == watched.samples.labels).all()


def test_a_subsample_is_stratified_and_repeatable():
    def chosen(seed):
        return watched_samples((IMAGES, LABELS), 30, split="test", class_names=("a", "b", "c"), seed=seed).samples

    assert chosen(0).ids == chosen(0).ids != chosen(1).ids
    shares = np.bincount(chosen(0).labels) / 30 - np.bincount(LABELS) / 90
    assert np.abs(shares).max() < 1 / 30
    assert chosen(0).class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("data", "options", "text"),
    [
        (IMAGES, {}, r"data must be \(images, labels\).*got ndarray"),
        ((IMAGES, LABELS[:5]), {}, r"one label per sample; got 5 labels for 90 samples"),
        ((IMAGES, np.eye(3)[LABELS]), {}, r"labels must have shape \(n,\); got \(90, 3\).*argmax"),
        ((IMAGES, LABELS), {"every": 0}, r"every must be at least 1; got 0"),
        ((IMAGES, LABELS), {"budget": 0}, r"budget must be above 0, a share of the training's time; got 0"),
        ((IMAGES, LABELS), {"num_samples": 5}, r"size must be between 6"),
        (tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)), {"num_samples": 5}, r"num_samples must be at least 2"),
        (tf.data.Dataset.from_tensor_slices(IMAGES), {}, r"data must yield \(images, labels\)"),
    ],
)
def test_bad_input(tmp_path, data, options, text):
    with pytest.raises(ValueError, match=text):
        core.SeparationCallback(data, out=tmp_path, **options)


def test_samples_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the shape that the model takes, \(6, 6, 2\); got \(3, 3, 2\)"):
        trained([core.SeparationCallback((IMAGES[:, :3, :3], LABELS), out=tmp_path)])


def test_a_subclassed_model_is_refused(tmp_path):
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.pool, self.scores = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)

        def call(self, x):
            return self.scores(self.pool(x))

    model = Mine()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="model must be functional or sequential"):
        model.fit(
            IMAGES, np.eye(3)[LABELS], verbose=0, callbacks=[core.SeparationCallback((IMAGES, LABELS), out=tmp_path)]
        )
