"""The sentence on prediction depths."""

import pandas as pd
import pytest

from core.report.words.samples_to_check import depths_text


@pytest.mark.parametrize(("num_wrong", "sentence"), [(0, "**0** end in"), (1, "**1** ends in"), (2, "**2** end in")])
def test_the_verb_goes_with_the_number_of_samples(num_wrong: int, sentence: str):
    samples = pd.DataFrame({"correct": [False] * num_wrong + [True] * 3, "settled": True, "depth": 1, "layer": "pool"})
    assert depths_text(samples, 10).endswith(f"{sentence} a wrong class.")


def test_the_last_layer_with_stored_neighbors_is_named():
    layers = {"depth": [1, 2], "layer": ["a", "c"], "settled": [True, False]}
    samples = pd.DataFrame({"correct": True} | layers)
    text = depths_text(samples, 10)
    assert "For **1** of 2 it still changes at `c`, the last layer with stored neighbors; " in text


def test_the_layer_is_named_by_which_half_of_the_samples_are_decided():
    """Not counted: a study may store the neighbors of some layers alone."""
    layers = {"depth": [5, 0, 2, 2, 7], "layer": ["e", "a", "c", "c", "g"]}
    samples = pd.DataFrame({"correct": True, "settled": True} | layers)
    assert "no longer changes: for half of the samples `c` or an earlier layer. For" in depths_text(samples, 10)
