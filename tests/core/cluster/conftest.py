"""What the tests of clusters share: a cluster of two real processes, small images, and a small network."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.cluster.connecting import Cluster, connect


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two worker processes of 1 GiB each, with nannies.

    Not for the whole session: at its end distributed may have closed the loop that the cluster needs to stop.
    """
    with connect("local:2:1GiB") as found:
        yield found


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and test/ of coloured noise, two classes."""
    root, rng = tmp_path_factory.mktemp("cluster-images"), np.random.default_rng(0)
    for split, count in (("train", 44), ("test", 10)):
        for channel, name in enumerate(("red", "blue")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 200, (20, 20, 3), dtype=np.uint8)
                pixels[..., channel] += rng.integers(0, 20, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return root


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of 16 x 16 pixels with a residual sum, at which a pass can end."""
    import keras

    layers, image = keras.layers, keras.Input((16, 16, 3), name="image")
    keras.utils.set_random_seed(0)
    stem = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem_conv")(image)
    expand = layers.Conv2D(4, 3, padding="same", name="block1a_expand_conv")(stem)
    added = layers.Add(name="block1a_add")([stem, expand])
    top = layers.Conv2D(6, 3, padding="same", name="top_conv")(layers.MaxPooling2D(name="pool")(added))
    head = layers.Dense(2, name="predictions")(layers.GlobalAveragePooling2D(name="avg_pool")(top))
    path = tmp_path_factory.mktemp("cluster-network") / "tiny.keras"
    keras.Model(image, head).save(path)
    return str(path)
