"""What several tests of the analyses measure."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import core


@pytest.fixture(scope="module")
def layered_study(tmp_path_factory) -> Callable[[Sequence[str]], core.Study]:
    """Write a study of samples with these splits: three classes, five layers, one of them with maps."""

    def write(splits: Sequence[str]) -> core.Study:
        rng, count = np.random.default_rng(3), len(splits)
        labels = rng.integers(0, 3, count)
        layers = {f"layer {at}": rng.normal(size=(count, 4)) + at * np.eye(4)[labels] for at in range(4)}
        layers["maps"] = (rng.normal(size=(count, 4)) + 5 * np.eye(4)[labels]).reshape(count, 2, 1, 2)
        return core.study_from_features(layers, labels, splits=splits, out=tmp_path_factory.mktemp("layered") / "study")

    return write
