"""Fine-tuning on cached activations against running the whole network in every epoch: accuracy and time.

Run from the project's root: python -m tests.benchmarks.fine_tuning. EfficientNet-Lite0 with ImageNet weights learns
some breeds of ../shared, with the default augmentation, rates and epochs, the same recipe and seeds in both ways:

- plain: every epoch runs the frozen layers on new variants of all training images, and on the test images, as
  Keras's `fit` does.
- cached: the frozen layers run once, on 4 variants of each training image and on the test images.

`cache_s` is spent once, `head_epoch_s` and `tail_epoch_s` are the median epoch's. The images are among those that the
weights were trained on: accuracies compare the two ways, and say nothing about new images. Test images number 20 a
breed, so that a point of accuracy is four images of the default 400.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

from core.training.fine_tuning import FineTuneOptions, fine_tune
from core.training.options import TrainingOptions
from core.training.phases import TrainingProgress
from tests.benchmarks.report import write_report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"


class Clock:
    """When each epoch and each stage ended."""

    def __init__(self) -> None:
        self.started, self.ends = time.perf_counter(), [("start", time.perf_counter())]

    def __call__(self, progress: TrainingProgress) -> None:
        ended = progress.result is not None if progress.epochs else progress.done == progress.total
        if ended:
            self.ends.append((progress.stage, time.perf_counter()))

    def seconds(self) -> pd.DataFrame:
        """The length of every stage and epoch."""
        frame = pd.DataFrame(self.ends, columns=["stage", "end"])
        return frame.assign(seconds=frame["end"].diff()).iloc[1:]


def measure(folder: Path, options: FineTuneOptions) -> dict[str, object]:
    clock = Clock()
    tuned = fine_tune(options, folder, progress=clock)
    stages = clock.seconds().groupby("stage")["seconds"]
    epoch = stages.median()
    once = stages.sum().drop(["head", "tail", "checking images"]).sum()
    last = tuned.history.groupby("phase")["val_accuracy"].last()
    return {
        "way": "cached" if options.cache else "plain",
        "variants": options.variants if options.cache else "new ones",
        "head_accuracy": last["head"],
        "final_accuracy": last["tail"],
        "cache_s": once,
        "head_epoch_s": epoch["head"],
        "tail_epoch_s": epoch["tail"],
        "seconds": stages.sum().sum(),
    }


def some_breeds(folder: Path, num_breeds: int, per_breed: int) -> Path:
    """Links to some training images and all test images of some breeds, evenly spaced in their order."""
    for split in ("train", "test"):
        breeds = sorted((DATA / split).iterdir())
        for breed in breeds[:: len(breeds) // num_breeds][:num_breeds]:
            (folder / split / breed.name).mkdir(parents=True)
            files = sorted(breed.iterdir())
            for file in files[:per_breed] if split == "train" else files:
                (folder / split / breed.name / file.name).symlink_to(file)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--breeds", type=int, default=20)
    parser.add_argument("--per-breed", type=int, default=12)
    parser.add_argument("--head-epochs", type=int, default=25)
    parser.add_argument("--tail-epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    asked = parser.parse_args()
    training = TrainingOptions(
        head_epochs=asked.head_epochs, tail_epochs=asked.tail_epochs, batch_size=asked.batch_size
    )
    with tempfile.TemporaryDirectory() as scratch:
        data = some_breeds(Path(scratch) / "breeds", asked.breeds, asked.per_breed)
        rows = [
            measure(Path(scratch) / name, FineTuneOptions(str(data), training=training, cache=name == "cached"))
            for name in ("plain", "cached")
        ]
    table = pd.DataFrame(rows)
    table["speedup"] = table["seconds"].iloc[0] / table["seconds"]
    print(table.to_string(index=False))
    write_report(table.astype({"variants": str}), "fine_tuning")


if __name__ == "__main__":
    main()
