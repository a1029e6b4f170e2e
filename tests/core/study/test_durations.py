"""Times as people say them: the unit follows the size."""

import pytest

from core.study.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (40, "40 s"),
        (89, "89 s"),
        (100, "2 min"),
        (5370, "90 min"),
        (5400, "1.5 h"),
        (7200, "2.0 h"),
        (90_000, "25.0 h"),
    ],
)
def test_the_unit_follows_the_size(seconds: float, said: str):
    assert in_words(seconds) == said
