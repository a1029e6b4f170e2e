"""Real features for the comparison of searches: activations on the dogs of ../shared.

    python -m tests.benchmarks.real_features FOLDER

Writes avg_pool.npy of EfficientNet-Lite0 (8,400 × 1,280, all images), and block5a_expand_conv.npy of EfficientNet-B0
without training (1,200 × 94,080, ten training images of each breed).
"""

import argparse
from pathlib import Path

import numpy as np

from core.network.activations import stream_pass
from core.study.plan import StudyOptions, plan_study

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    images = str(DATA)
    print(write_features(folder, StudyOptions(images, layers="avg_pool", pooling="flat")))
    untrained = StudyOptions(
        images,
        network="efficientnet-b0",
        weights="none",
        layers="block5a_expand_conv",
        pooling="flat",
        split="train",
        per_class=10,
    )
    print(write_features(folder, untrained))


if __name__ == "__main__":
    main()
