"""overwrite of fine-tunings and of studies that a training records: all or nothing."""

import os

import numpy as np
import pytest

import core
from tests.vision_transformers import SIDE, small_vit

keras = pytest.importorskip("keras")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


def options(path, epochs):
    training = core.TrainingOptions(head_epochs=epochs, tail_epochs=0, unfreeze="block2_*")
    return core.FineTuneOptions("digits", model=str(path), training=training, per_class=4, variants=0)


def test_a_fine_tuning_and_its_study_are_replaced(tmp_path):
    path, out, record = tmp_path / "vit.keras", tmp_path / "tuned", tmp_path / "record"
    small_vit(class_token=False).save(path)
    core.fine_tune(options(path, 1), out, separation=record)
    with pytest.raises(core.StudyError, match="differs in training"):
        core.fine_tune(options(path, 2), out, separation=record)
    again = core.fine_tune(options(path, 2), out, separation=record, overwrite=True)
    assert len(again.history) == 2
    (out / "mine.txt").write_text("mine")
    with pytest.raises(core.StudyError, match=r"holds mine\.txt, too"):
        core.fine_tune(options(path, 1), out, overwrite=True)
    assert len(core.FineTuned(out).history) == 2
    assert sorted(os.listdir(tmp_path)) == ["record", "tuned", "vit.keras"]


def test_a_recorded_training_is_replaced(tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (12, SIDE, SIDE, 3)).astype(np.float32)
    labels = np.tile([0, 1, 2], 4)

    def fit(**more):
        model = small_vit(class_token=True, num_blocks=1)
        model.compile("sgd", "sparse_categorical_crossentropy")
        callback = core.SeparationCallback((images, labels), out=tmp_path / "record", every=1, **more)
        model.fit(images, labels, epochs=1, verbose=0, callbacks=[callback])

    fit()
    with pytest.raises(core.StudyError, match="holds epochs up to 1"):
        fit()
    fit(overwrite=True)
    assert core.load_study(tmp_path / "record").state == "complete"
    assert os.listdir(tmp_path) == ["record"]
