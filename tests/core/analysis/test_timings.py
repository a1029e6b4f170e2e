"""The seconds that are kept beside a study: what is read of a file, and what counts as damaged."""

import pytest

from core.analysis.cut.timings import load_timing
from core.study.store.opening import load_study
from core.study.store.writing import write_json
from tests.damage import write_small_study

SECONDS = {"stem_conv": 0.1, "predictions": 0.4}
ROUNDS = {"stem_conv": [0.1, 0.2], "predictions": [0.4, 0.5]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return load_study(write_small_study(tmp_path_factory.mktemp("timed") / "study"))


@pytest.mark.parametrize(
    "content",
    [
        {"seconds": SECONDS, "rounds": ROUNDS, "repeats": 2},
        {"seconds": {"stem_conv": 0, "predictions": 0.4}, "rounds": ROUNDS | {"stem_conv": [0, 0]}},  # pixels take none
    ],
)
def test_a_file_that_core_writes_is_read(study, content):
    write_json(study.path / "timing.json", content)
    assert load_timing(study) == content


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"seconds": SECONDS},
        {"seconds": {}},
        {"seconds": {"stem_conv": 0}},
        {"seconds": {"another": 1}},
        {"seconds": {"stem_conv": -1}},
        {"seconds": SECONDS, "rounds": None},
        {"seconds": SECONDS, "rounds": {}},
        {"seconds": SECONDS, "rounds": {"stem_conv": [0.1, 0.2]}},
        {"seconds": SECONDS, "rounds": ROUNDS | {"stem_conv": [0.1]}},
        {"seconds": SECONDS, "rounds": ROUNDS | {"stem_conv": [0.1, 0]}},
        {"seconds": SECONDS, "rounds": ROUNDS | {"stem_conv": [0.1, "0.2"]}},
        {"seconds": SECONDS, "rounds": ROUNDS | {"stem_conv": 0.1}},
        {"seconds": SECONDS, "rounds": {"stem_conv": [], "predictions": []}},
    ],
)
def test_what_cannot_be_right_counts_as_nothing_measured(study, content):
    write_json(study.path / "timing.json", content)
    assert load_timing(study) == {}
