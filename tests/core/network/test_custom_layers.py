"""Layers of a package's own class: saved so that they can be restored, or refused before anything is written."""

import numpy as np
import pytest

from core.network.models.custom_layers import make_restorable
from core.training.tails import add_head

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@keras.saving.register_keras_serializable("tests")
class Chatty(keras.layers.Dense):
    """Its configuration has an entry that its class does not take."""

    def __init__(self, units, **options):
        super().__init__(units, **options)

    def get_config(self):
        return {"name": self.name, "units": self.units, "num_squares": self.units**2}


@keras.saving.register_keras_serializable("tests")
class Silent(keras.layers.Dense):
    """Its configuration lacks what its class takes."""

    def __init__(self, size, **options):
        super().__init__(size, **options)

    def get_config(self):
        return {"name": self.name}


def network(layer):
    image = keras.Input((4, 4, 3))
    return keras.Model(image, layer(image))


def test_entries_that_a_class_does_not_take_are_left_out(tmp_path):
    model = network(Chatty(2, name="chatty"))
    model.save(tmp_path / "before.keras")
    with pytest.raises(TypeError, match="num_squares"):
        keras.models.load_model(tmp_path / "before.keras")
    make_restorable(model)
    model.save(tmp_path / "after.keras")
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "after.keras")(images), model(images))


def test_a_layer_that_cannot_be_restored_is_refused_before_training():
    model = network(Silent(2, name="silent"))
    with pytest.raises(ValueError, match=r"silent, of the class Silent, is not.*It can be measured\."):
        add_head(model, 3, unfreeze=None)


def test_layers_of_keras_are_left_alone():
    layer = keras.layers.Dense(2)
    make_restorable(network(layer))
    assert "get_config" not in vars(layer)
