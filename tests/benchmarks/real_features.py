"""Real features for the comparison of searches: activations on the dogs of ../shared.

    python -m tests.benchmarks.real_features FOLDER [--drawn 50000 ...]

Writes avg_pool.npy of EfficientNet-Lite0 (8,400 × 1,280, all images), and block5a_expand_conv.npy of EfficientNet-B0
without training (1,200 × 94,080, ten training images of each breed). `--drawn` adds files of more rows than there are
photographs, avg_pool_50000.npy: x + 0.7 (y − z), where x, y and z are drawn from one breed's rows of avg_pool, so that
nearest neighbors stay as near as they are among real rows.
"""

import argparse
from pathlib import Path

import numpy as np

from core.network.activations import stream_pass
from core.study.plan import StudyOptions, plan_study

SPREAD = 0.7  # of the difference of two rows that a drawn row is moved by
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"


def write_features(folder: Path, options: StudyOptions) -> Path:
    """Stream the one layer of a study into a file."""
    plan = plan_study(options, memory=16 << 30)
    (pass_,) = plan.passes()
    path = folder / f"{options.layers}.npy"

    def allocate(key: tuple[str, str], shape: tuple[int, ...]) -> np.ndarray:
        return np.lib.format.open_memmap(path, "w+", np.float32, shape)

    assert plan.network is not None
    images, size = plan.images, plan.network.input_size
    stream_pass(
        plan.network, pass_, lambda rows: images.load(rows, size), len(images), poolings=("flat",), allocate=allocate
    )
    return path


def draw_rows(path: Path, num_rows: int) -> Path:
    """A file of that many rows beside `path`, avg_pool of all images, drawn around its rows."""
    features = np.load(path)
    images = plan_study(StudyOptions(str(DATA), layers="avg_pool", pooling="flat")).images
    breeds = [np.flatnonzero(images.labels == breed) for breed in np.unique(images.labels)]
    drawn_path = path.with_name(f"{path.stem}_{num_rows}.npy")
    drawn = np.lib.format.open_memmap(drawn_path, "w+", np.float32, (num_rows, features.shape[1]))
    rng = np.random.default_rng(0)
    for place in range(num_rows):
        x, y, z = features[rng.choice(breeds[rng.integers(len(breeds))], 3)]
        drawn[place] = x + np.float32(SPREAD) * (y - z)
    drawn.flush()
    return drawn_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drawn", type=int, nargs="*", default=[], help="rows of the files drawn around the real ones")
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    images = str(DATA)
    real = write_features(folder, StudyOptions(images, layers="avg_pool", pooling="flat"))
    print(real)
    for num_rows in options.drawn:
        print(draw_rows(real, num_rows))
    untrained = StudyOptions(
        images,
        model="efficientnet-b0",
        weights="none",
        layers="block5a_expand_conv",
        pooling="flat",
        split="train",
        per_class=10,
    )
    print(write_features(folder, untrained))


if __name__ == "__main__":
    main()
