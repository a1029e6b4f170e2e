"""What `core.SeparationCallback` costs beside an epoch, at its defaults: EfficientNet-Lite0 on photographs.

Run from the project's root: python -m tests.benchmarks.callback_cost [--images 640]. The network, with a new head of
120 classes, is trained as Keras does it, on some of the training photographs of ../shared, decoded beforehand, in two
ways: all of its weights, and the new head alone (the frozen rest then costs one run forward). The callback decodes and
measures 500 test photographs at seven layers. Both are timed in the second of two epochs, without compilation.

An epoch of fewer images than the data set has is extrapolated: `epoch_s` is the time an image times `--epoch-images`,
by default the 6,000 training photographs; `record_share` is what a record took, over that. `records` are those that the
callback's own rule then allows within 25 such epochs, beside the first and the last; `share` is what these take.
"""

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import core
from core.data.images.labelled_images import LabelledImages
from core.data.images.loading import load_images
from core.network.models.registry import load_network
from core.training.recording.epochs import read_history
from core.training.recording.recorder import BUDGET, Pace
from tests.benchmarks.report import write_report

EPOCHS = 25
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"


def network(num_classes: int, *, whole: bool) -> keras.Model:
    """Lite0 with ImageNet weights up to its pooling, and a new head."""
    keras.utils.set_random_seed(0)
    base = load_network("efficientnet-lite0", "imagenet").model
    for layer in base.layers:
        layer.trainable = whole
    pooled = base.get_layer("avg_pool").output
    scores = keras.layers.Dense(num_classes, activation="softmax", name="scores")(pooled)
    model = keras.Model(base.inputs, scores)
    model.compile(keras.optimizers.Adam(1e-5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def measure(images: LabelledImages, rows: np.ndarray, epoch_images: int, *, whole: bool) -> dict[str, object]:
    """Train two epochs and take the second one's seconds, and the callback's."""
    pixels, labels = images.load(rows, (224, 224)), images.labels[rows]
    with tempfile.TemporaryDirectory() as folder:
        callback = core.SeparationCallback(images, out=folder, every=1)
        model = network(len(images.class_names), whole=whole)
        model.fit(pixels, labels, epochs=2, batch_size=32, verbose=2, callbacks=[callback])
        last = read_history(folder).iloc[-1]
        study = core.load_study(folder)
        epoch_s = last["seconds"] / len(rows) * epoch_images
        record_s = float(last["separation_s"])
        records = allowed_records(epoch_s, record_s)
        return {
            "trained": "all weights" if whole else "new head",
            "images": len(rows),
            "seconds": last["seconds"],
            "samples": len(study.samples),
            "layers": len(study.layers),
            "separation_s": record_s,
            "epoch_images": epoch_images,
            "epoch_s": epoch_s,
            "record_share": record_s / epoch_s,
            "records": records,
            "share": records * record_s / (EPOCHS * epoch_s),
        }


def allowed_records(epoch_s: float, record_s: float) -> int:
    """How many records the defaults make in a training of such epochs."""
    pace, count = Pace(None, BUDGET), 0
    pace.recorded(record_s, counts=False)
    for epoch in range(1, EPOCHS):
        pace.trained(epoch_s)
        if pace.is_due(epoch):
            pace.recorded(record_s, counts=True)
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--epoch-images", type=int, default=6000)
    asked = parser.parse_args()
    images = load_images(str(DATA), seed=0)
    train = np.flatnonzero(images.splits == "train")
    rows = np.random.default_rng(0).permutation(train)[: asked.images]
    table = pd.DataFrame([measure(images, rows, asked.epoch_images, whole=whole) for whole in (True, False)])
    print(table.to_string(index=False))
    write_report(table, "callback_cost")


if __name__ == "__main__":
    main()
