"""Writes the bundled study of a training: a small network learns scikit-learn's digits, and SI is recorded meanwhile.

Run from the project's root: python -m tests.benchmarks.training_demo. It replaces explorer/demo/digits-training. So
that the bundle stays small, of the stored neighbors only the nearest is kept, of the first and the last epoch.
"""

import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

import core
from core.data.images.loading import load_images
from core.training.recording.epochs import load_epoch, read_epochs, read_history, recorded_epochs

OUT = Path(__file__).resolve().parents[2] / "explorer" / "demo" / "digits-training"
EPOCHS = 10
TEXTS = ["split", "layer", "pooling", "nearest_split"]


def network() -> keras.Model:
    """Three blocks of a convolution with batch normalization, global pooling, dropout, a dense layer."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    steps = [keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.RandomTranslation(0.1, 0.1)]
    for block, (channels, strides) in enumerate([(16, 1), (32, 2), (64, 2)], start=1):
        conv = layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False, name=f"block{block}_conv")
        steps += [conv, layers.BatchNormalization(), layers.ReLU()]
    steps += [
        layers.GlobalAveragePooling2D(name="avg_pool"),
        layers.Dropout(0.2),
        layers.Dense(32, activation="relu", name="hidden"),
        layers.Dense(10, activation="softmax", name="predictions"),
    ]
    model = keras.Sequential(steps, name="small-cnn")
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def keep_nearest(folder: Path) -> None:
    """Drop stored neighbors but for the nearest ones of the first and the last epoch."""
    between = {load_epoch(folder, epoch).path for epoch in recorded_epochs(folder)[1:-1]}
    for file in folder.rglob("neighbors.parquet"):
        if file.parent in between:
            file.unlink()
            continue
        table = pq.read_table(file)
        pq.write_table(table.filter(pc.equal(table["rank"], 1)), file, compression="zstd", use_dictionary=TEXTS)


def main() -> None:
    images = load_images("digits", seed=0)
    train, test = (np.flatnonzero(images.splits == split) for split in ("train", "test"))
    shutil.rmtree(OUT, ignore_errors=True)
    network().fit(
        images.load(train, (8, 8)),
        images.labels[train],
        validation_data=(images.load(test, (8, 8)), images.labels[test]),
        epochs=EPOCHS,
        batch_size=32,
        verbose=2,
        callbacks=[core.SeparationCallback(images, out=OUT, every=1)],
    )
    keep_nearest(OUT)
    epochs = read_epochs(OUT)
    rows = epochs[epochs["measure"] == "separation"]
    print(rows.pivot_table(index="layer", columns="epoch", values="value", sort=False).round(3).to_string())
    with pd.option_context("display.width", 200):
        print(read_history(OUT).round(3).to_string(index=False))
    print(f"{sum(file.stat().st_size for file in OUT.rglob('*') if file.is_file()):,} bytes")


if __name__ == "__main__":
    main()
