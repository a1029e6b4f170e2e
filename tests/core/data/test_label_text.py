"""Labels that are texts: missing ones, and one label written in several ways, through every door."""

import numpy as np
import pytest

import core
from core.data.features import open_features, open_test_features
from core.data.label_text import alike_labels, alike_note
from core.study.from_features.writer import study_samples


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["Cat", "cat", "dog"], [("Cat", "cat")]),
        (["1.0", "1", "01", "2"], [("01", "1", "1.0")]),
        (['"cat"', "cat"], [('"cat"', "cat")]),
        (["caf\u00e9", "cafe\u0301"], [("cafe\u0301", "caf\u00e9")]),
        (["cat\u200b", "cat", "cat\u00a0"], [("cat", "cat\u00a0", "cat\u200b")]),
        (["cats", "cat", "1_0", "10"], []),
    ],
)
def test_labels_that_may_mean_the_same(labels, expected):
    assert alike_labels(labels) == expected


def test_at_most_three_groups_are_named():
    note = alike_note([name for letter in "abcde" for name in (letter, letter.upper())])
    assert note.endswith("'A' and 'a'; 'B' and 'b'; 'C' and 'c'; and 2 more. Write each in one way.")
    assert alike_note(["cat", "dog"]) == ""


def test_the_note_is_in_a_study_and_beside_files(tmp_path):
    note = "Labels that may mean the same are measured as different classes: 'Cat' and 'cat'. Write each in one way."
    assert note in study_samples(["Cat", "Cat", "cat", "cat"]).cautions()
    for name, labels in {"one": ["Cat", "dog", "dog", "Cat"], "two": ["cat", "dog", "dog", "cat"]}.items():
        np.savez(tmp_path / name, conv=np.eye(4), labels=labels)
    train = open_features(tmp_path / "one.npz")
    assert train.notes == ()
    assert open_test_features(tmp_path / "two.npz", None, train).notes == (note,)


@pytest.mark.parametrize("missing", ["nan", "None", "NA", "", " "])
def test_missing_labels_in_python(missing):
    labels = np.array(["cat", "dog", missing, "cat", "dog", missing])
    with pytest.raises(
        ValueError, match=f"labels must not be missing; got '{missing}' and the like for 2 of 6 samples"
    ):
        core.separation_index(np.eye(6), labels)
    with pytest.raises(ValueError, match="labels must not be missing"):
        study_samples(labels)


def test_a_continuous_target_in_python_is_told_its_measure():
    with pytest.raises(
        ValueError, match=r"got float64 of shape \(6,\), targets of a regression\. Measure such .* core\.smoothness"
    ):
        core.separation_index(np.eye(6), np.linspace(0, 1, 6))
