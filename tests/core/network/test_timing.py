"""Seconds an image: what is counted, and in which order things run."""

import itertools

import keras
import pytest

from core.network.timing import interleaved_prefix_seconds, prefix_rounds


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """One cheap layer, then one with hundreds of times its operations."""
    image = keras.Input((32, 32, 3), name="image")
    cheap = keras.layers.Conv2D(2, 1, name="cheap_conv")(image)
    dear = keras.layers.Conv2D(256, 9, padding="same", name="dear_conv")(keras.layers.Conv2D(64, 3)(cheap))
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(dear)
    return keras.Model(image, pooled, name="small")


def test_a_layer_takes_what_comes_before_it_and_the_pixels_nothing(model):
    rounds = prefix_rounds(model, ["avg_pool", "input", "cheap_conv"], batch_size=4, repeats=2)
    assert list(rounds) == ["avg_pool", "input", "cheap_conv"]
    assert rounds["input"] == [0, 0]
    assert 0 < 3 * min(rounds["cheap_conv"]) < min(rounds["avg_pool"])


def clock(*elapsed_s):
    """A clock by which the runs take these seconds."""
    readings = itertools.chain.from_iterable((0.0, seconds) for seconds in elapsed_s)
    return lambda: next(readings)


def test_prefixes_take_turns_and_the_fastest_round_counts(model):
    """The warm-up is not timed; then the clock is read round by round, and is used up in the end."""
    prefixes = [(model, "cheap_conv"), (model, "avg_pool")]
    seconds = interleaved_prefix_seconds(prefixes, batch_size=4, repeats=2, clock=clock(8.0, 2.0, 4.0, 6.0))
    assert seconds == [1.0, 0.5]
    rounds = prefix_rounds(model, ["cheap_conv", "avg_pool"], batch_size=4, repeats=2, clock=clock(8.0, 2.0, 4.0, 6.0))
    assert rounds == {"cheap_conv": [2.0, 1.0], "avg_pool": [0.5, 1.5]}


def test_bad_input_is_refused(model):
    with pytest.raises(ValueError, match=r"small has no 'top_conv'.*lists them"):
        prefix_rounds(model, ["avg_pool", "top_conv"])
    with pytest.raises(ValueError, match=r"repeats must be at least 1; got 0"):
        prefix_rounds(model, ["avg_pool"], repeats=0)
    assert prefix_rounds(model, []) == {}
