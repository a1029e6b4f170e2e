"""What is said of a study's making, whatever is missing."""

import pytest

from core.report.words.formatting import plain
from core.report.words.provenance import sample_counts, weights_text
from core.study.store.study_json import look_up, seed_of
from explorer.runs.study_list import known_title
from explorer.studies.loading import bundled_studies, read_study
from explorer.studies.provenance import caption, facts, study_title


def test_the_line_beneath_the_headline(tiny_study):
    assert caption(read_study(tiny_study)) == (
        r"efficientnet-lite0, pre-trained on ImageNet · stanford\_dogs\_224 · 120 classes · "
        "1,200 training and 1,200 test samples · seed 0"
    )


def test_a_study_that_says_nothing_of_itself(tmp_path, study_writer):
    study = read_study(study_writer(tmp_path / "bare", layers=[("a_conv", "Conv2D", 4, 2)], splits=["train"]))
    assert caption(study) == "1,200 training samples"
    assert facts(study)["State"] == "complete"
    assert study_title(tmp_path / "bare") == "bare"


def test_facts_hold_what_is_needed_to_judge_and_to_repeat(tiny_study):
    found = facts(read_study(tiny_study))
    expected = {
        "Weights, SHA-256": "5d1c" * 16,
        "Samples": "1,200 training and 1,200 test samples",
        "Sampling": "every sample is a query",
        "Seed": "0",
        "Versions": "python 3.11.9, keras 3.15.0, tensorflow 2.21.0",
    }
    assert {name: found[name] for name in expected} == expected
    assert found.map(type).eq(str).all()


def test_left_out_samples_are_counted(tmp_path, study_writer):
    info = {"skipped": [{"id": "a.jpg", "reason": "truncated"}] * 3}
    study = read_study(study_writer(tmp_path / "skipped", layers=[("a_conv", "Conv2D", 4, 2)], info=info))
    assert facts(study)["Left out"] == "3 unreadable"


def test_the_title_in_the_picker(tiny_study):
    assert study_title(tiny_study) == "tiny · pre-trained on ImageNet · efficientnet-lite0 · stanford_dogs_224"


def test_the_ranking_s_studies_are_named_as_such():
    title = known_title("ranking-efficientnet-lite1", bundled_studies())
    assert title == "ranking-efficientnet-lite1 · pre-trained on ImageNet · stanford_dogs_224"


def test_bundled_studies_of_one_data_set_are_told_apart():
    titles = {name: study_title(path).split(" · ")[1:3] for name, path in bundled_studies().items() if "dogs" in name}
    assert titles == {
        "dogs": ["pre-trained on ImageNet", "efficientnet-lite0"],
        "dogs-head": ["new head", "efficientnet-lite0"],
        "dogs-tuned": ["fine-tuned", "efficientnet-lite0"],
        "dogs-untrained": ["untrained", "efficientnet-lite0"],
        "dogs-b0-untrained": ["untrained", "efficientnet-b0"],
    }


@pytest.mark.parametrize(
    ("weights", "text"),
    [("none", "untrained"), ("runs/a/final.keras", "fine-tuned"), ("C:\\nets\\mine.keras", "mine.keras"), (None, None)],
)
def test_weights_are_said_in_words_and_without_their_folder(weights, text):
    assert weights_text({"used": {"model": {"weights": weights}}}) == text


def test_a_broken_study_still_has_a_title(tmp_path):
    (tmp_path / "study.json").write_text("{")
    assert study_title(tmp_path) == tmp_path.name


@pytest.mark.parametrize(
    ("info", "seed"), [({"used": {"seed": 0}}, 0), ({"asked": {"seed": 3}}, 3), ({"used": "?", "asked": None}, None)]
)
def test_the_seed_is_found_where_it_stands(info, seed):
    assert seed_of(info) == seed


def test_counts_of_no_curves(tiny_study):
    assert sample_counts(read_study(tiny_study).curves[:0]) == ""


def test_looking_up_what_is_not_there():
    assert look_up({"a": {"b": 1}}, "a.b.c") is None


def test_markdown_in_names_is_shown_as_it_is():
    assert plain("a_b*[c](d) $x$ :red[e]") == r"a\_b\*\[c\](d) \$x\$ \:red\[e\]"
