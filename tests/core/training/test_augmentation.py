"""Augmentation: what each change does to known pixels, and that an image's draw is its own."""

import numpy as np
import pytest

from core.training.augmentation import Augmentation, Draws, augment, draw

ROWS = np.array([0])


def draws(*, angle=0.0, down=0.0, right=0.0, mirrored=1.0, contrast=1.0) -> Draws:
    return Draws(*(np.array([value]) for value in (angle, down, right, mirrored, contrast)))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(20, 230, (1, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, lambda x: x),
        ({"mirrored": -1.0}, lambda x: x[:, :, ::-1]),
        ({"angle": np.pi / 2}, lambda x: np.rot90(x, axes=(1, 2))),
        ({"angle": np.pi}, lambda x: x[:, ::-1, ::-1]),
        ({"right": 2 / 8}, lambda x: np.concatenate([x[:, :, 2:], x[:, :, :-3:-1]], axis=2)),
        ({"down": 1 / 8}, lambda x: np.concatenate([x[:, 1:], x[:, -1:]], axis=1)),
        ({"contrast": 0.9}, lambda x: 0.9 * (x - x.mean((1, 2), keepdims=True)) + x.mean((1, 2), keepdims=True)),
    ],
    ids=["nothing", "mirrored", "quarter", "half", "right", "down", "contrast"],
)
def test_each_change_by_hand(images, change, expected):
    assert np.allclose(augment(images, draws(**change), ROWS), expected(images), atol=1e-2)


def test_pixels_stay_in_their_range():
    black_and_white = np.float32([[[[0.0], [255.0]], [[255.0], [0.0]]]])
    assert np.allclose(augment(black_and_white, draws(contrast=1.5), ROWS), black_and_white)


def test_an_image_is_changed_alike_in_any_batch():
    images = np.random.default_rng(1).uniform(0, 255, (5, 8, 8, 3)).astype(np.float32)
    drawn = draw(Augmentation(), 5, (7, 1))
    together = np.array(augment(images, drawn, np.arange(5)))
    for row in range(5):
        assert np.allclose(augment(images[[row]], drawn, np.array([row])), together[row], atol=1e-3)
    assert not np.allclose(together, augment(images, draw(Augmentation(), 5, (7, 2)), np.arange(5)))


def test_draws_fill_their_ranges():
    drawn = draw(Augmentation(rotation=0.15, translation=0.1, contrast=0.2), 4000, (0,))
    assert np.abs(drawn.angles).max() == pytest.approx(0.15 * 2 * np.pi, rel=0.01)
    assert np.abs(drawn.down).max() == pytest.approx(0.1, rel=0.01)
    assert np.abs(drawn.right).max() == pytest.approx(0.1, rel=0.01)
    assert (drawn.contrasts.min(), drawn.contrasts.max()) == pytest.approx((0.8, 1.2), rel=0.01)
    assert drawn.mirrored.mean() == pytest.approx(0, abs=0.05)
    assert set(draw(Augmentation(flip=False), 50, (0,)).mirrored) == {1.0}


def test_what_changes_nothing():
    assert Augmentation(0, 0, 0, flip=False).changes_nothing
    assert not Augmentation(0, 0, 0).changes_nothing


@pytest.mark.parametrize(("name", "value"), [("rotation", 0.6), ("translation", -0.1), ("contrast", 2)])
def test_a_change_out_of_range_is_an_error(name, value):
    with pytest.raises(ValueError, match=rf"{name} must lie between 0 and .*; got {value}"):
        Augmentation(**{name: value})
