"""The note on curves of unequal numbers of samples."""

import pandas as pd
import pytest

from core.report.words.sample_counts import unequal_counts_text


@pytest.mark.parametrize(
    ("num_train", "num_test", "shown", "numbers"),
    [
        (30, 20, ("test", "train"), "(20 for Test, 30 for Train)"),
        (30, 20, ("test", "cross"), "(20 for Test, 30 for Test to train)"),
        (30, 20, ("train", "cross"), None),  # both among the training samples
        (30, 20, ("train",), None),
        (21, 20, ("test", "train"), None),
        (30, 20, (), None),
    ],
)
def test_unequal_numbers_are_told(num_train: int, num_test: int, shown: tuple[str, ...], numbers: str | None):
    samples = pd.DataFrame({"split": ["train"] * num_train + ["test"] * num_test})
    curves = pd.DataFrame({"measure": ["SI"] * len(shown) + ["kNN"], "samples": [*shown, "test"]})
    text = unequal_counts_text(samples, curves)
    assert text == "" if numbers is None else numbers in text
    assert ("cannot be compared" in text) == (numbers is not None)
