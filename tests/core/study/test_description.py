"""Name, note and tags of a study in description.json: kept, merged between writers, and refused."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.study.store.description import (
    DESCRIPTION_FILE,
    DESCRIPTION_LOCK,
    Description,
    change_description,
    read_description,
)
from core.study.store.opening import StudyError
from core.study.store.replacing import refuse_to_replace


def test_what_is_written_is_read_again(tmp_path):
    assert read_description(tmp_path) == Description()
    change_description(tmp_path, name="  before \n tuning ", tags=["dogs", "", "dogs", " sizes "])
    change_description(tmp_path, note="two\nlines ")
    assert read_description(tmp_path) == Description("before tuning", "two\nlines", ("dogs", "sizes"))


def test_writers_at_the_same_time_lose_no_field(tmp_path):
    changes = [{"name": "n"}, {"note": "m"}, {"tags": ["t"]}] * 8
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda change: change_description(tmp_path, **change), changes))
    assert read_description(tmp_path) == Description("n", "m", ("t",))
    assert sorted(path.name for path in tmp_path.iterdir()) == [DESCRIPTION_LOCK, DESCRIPTION_FILE]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "description.json must be JSON"),
        ("[]", "must be a JSON object"),
        ('{"name": 3}', "name must be a text of at most 80 characters; got int"),
        ('{"tags": "dogs"}', "tags must be a list of at most 20 texts; got 4 characters"),
        ('{"tags": [""], "note": {}}', "note must be a text of at most 2,000 characters; got dict; tags must be"),
    ],
)
def test_a_damaged_file_is_told_and_not_overwritten(tmp_path, text, message):
    (tmp_path / DESCRIPTION_FILE).write_text(text)
    with pytest.raises(StudyError, match="to start over") as read:
        read_description(tmp_path)
    assert message in str(read.value)
    with pytest.raises(StudyError):
        change_description(tmp_path, name="x")
    assert (tmp_path / DESCRIPTION_FILE).read_text() == text


def test_too_much_is_refused_together(tmp_path):
    with pytest.raises(ValueError, match=r"name must be .* got 81 characters; tags must be .* got 41 characters"):
        change_description(tmp_path, name="x" * 81, tags=["y" * 41])
    assert not (tmp_path / DESCRIPTION_FILE).exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that may not be written")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StudyError, match="cannot be written: Permission denied"):
        change_description(tmp_path, name="x")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StudyError, match="cannot be written: No such file"):
        change_description(tmp_path / "gone", name="x")


def test_a_described_study_may_still_be_replaced(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"format": 2, "state": "complete"}))
    change_description(tmp_path, name="x")
    refuse_to_replace(tmp_path, "study.json")
