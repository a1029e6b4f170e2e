"""Watching a training while it runs, in a real Chromium; the training is that of a tiny network in another process."""

import os
import subprocess
import sys
import time

import pytest
from playwright.sync_api import expect

from tests.browser import POLL_S, ROOT, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# The training goes on after each epoch once the test has written a file; so nothing depends on how long it takes.
TRAINING = """
import sys, time
from pathlib import Path
import keras
from sklearn.datasets import load_digits
import core

out, gates = Path(sys.argv[1]), Path(sys.argv[2])
digits = load_digits()
images, labels = digits.images[:120, :, :, None] / 16, digits.target[:120]
model = keras.Sequential([
    keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, activation="relu"),
    keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, activation="softmax"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

class Gate(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        while not (gates / str(epoch + 1)).exists():
            time.sleep(0.05)

model.fit(images, labels, epochs=3, verbose=0, callbacks=[
    core.SeparationCallback((images, labels), out=out, every=1), Gate(),
])
"""


def test_watching_a_training(page, tmp_path):
    folder, script = tmp_path / "watched", tmp_path / "training.py"
    script.write_text(TRAINING)
    command = [sys.executable, str(script), str(folder), str(tmp_path)]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}  # this project, wherever another one is installed
    training = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        while not (folder / "epochs" / "00001").exists():
            assert training.poll() is None
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
        with serve("--study", str(folder), log=tmp_path / "server.log") as (address, _):
            page.goto(f"{address}/training")
            title = page.get_by_role("heading", level=1)
            expect(title).to_have_text("This training is running", timeout=60_000)
            expect(page.get_by_text("SI recorded after epoch 1")).to_be_visible(timeout=60_000)
            expect(page.get_by_text("1 epoch trained")).to_be_visible(timeout=60_000)
            page.evaluate("window.sameDocument = true")

            (tmp_path / "1").touch()  # the next epoch appears by itself
            expect(page.get_by_text("SI recorded after epoch 2")).to_be_visible(timeout=60_000)
            expect(page.get_by_text("2 epochs trained")).to_be_visible(timeout=60_000)
            expect(page.locator("svg.marks")).to_have_count(3)

            (tmp_path / "2").touch()
            (tmp_path / "3").touch()  # the training ends, and the page with it
            expect(title).not_to_have_text("This training is running", timeout=60_000)
            expect(page.get_by_text("After epoch 3 of 3")).to_be_visible(timeout=60_000)
            assert page.get_by_text("This training was interrupted").count() == 0
            assert page.evaluate("window.sameDocument"), "the page was never loaded again"
            assert training.wait(timeout=60) == 0
    finally:
        training.kill()
        training.wait()
