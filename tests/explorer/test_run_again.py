"""A study fills the form of New study: every option comes back, and what cannot is named."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from core.commands.study import add_parser, study_options
from explorer.runs.background import jobs
from explorer.runs.request import Request, check_request, parse_request
from explorer.runs.run_again import run_again
from explorer.server.public_mode import limits
from explorer.studies.loading import bundled_studies, read_study

LOCAL, PUBLIC = limits({}), limits({"SI_EXPLORER_PUBLIC": "1"})
NETWORK = Request(model="efficientnet-lite0")


def recorded(request: Request) -> dict:
    """What study.json records of the study that a request makes."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return {"asked": study_options(parser.parse_args(request.arguments())).asked()}


@pytest.mark.parametrize(
    "request_made",
    [
        Request(),
        Request(per_class=10, sizes="50,100", repeats=3, seed=7, split="test", neighbors=4, related_measures=True),
        replace(NETWORK, layers="block*_add,top_conv", pooling="both", test_fraction=0.3, tokens="class"),
        replace(NETWORK, weights="none", skip_broken=True, skip_small_classes=True),
        Request(source="tfds", data="mnist", model="resnet50", per_class=5),
        replace(NETWORK, batch_size=8, probe=False, projection="none", neighbor_layers="output", input_size=64),
        Request(protocol="notebook", layers="all"),
    ],
    ids=lambda request: request.title,
)
def test_every_option_of_a_study_comes_back_and_makes_the_same_study(request_made, tmp_path):
    info = recorded(request_made)
    filled = run_again(info, tmp_path, LOCAL)
    assert filled.notes == ()
    assert recorded(filled.request) == info
    assert parse_request(filled.request.query()) == filled.request  # a link restores it, too
    if request_made.protocol == "separation":  # the notebook's sets options by itself
        assert filled.request == request_made


def test_paths_are_found_beside_the_study_or_named(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "net.keras").touch()
    asked = {"data": "images", "model": None, "weights": "net.keras"}
    filled = run_again({"asked": asked}, tmp_path / "study", LOCAL)
    expected = Request(source="folder", data=str(tmp_path / "images"), model=str(tmp_path / "net.keras"))
    assert (filled.request, filled.notes) == (expected, ())
    lost = run_again({"asked": asked | {"data": "/gone"}}, tmp_path / "study", LOCAL)
    assert lost.notes == ("The study's data, /gone, are not here: give their present path.",)


@pytest.mark.parametrize(
    ("info", "source", "note"),
    [
        ({"asked": {"metric": "cosine", "neighbors": 3, "related_measures": True}}, "features", "choose them again"),
        ({"asked": {"metric": "euclidean", "probe": False}}, "features", "no field for probe"),
        ({"asked": {"data": "../.uploads/ab/images"}}, "images", "choose them again"),
        (
            {"used": {"model": {"name": "small-cnn"}}, "asked": {"layers": ["a"]}},
            "features",
            "small-cnn was not measured",
        ),
        ({"asked": {"data": "digits", "repeats": 5_000}}, "digits", "Draws of each size was 5000"),
        ({"asked": {"data": "digits", "precision": 0.02, "pilot": 9}}, "digits", "had a precision of 0.02"),
        ({}, "features", "choose them again"),
    ],
)
def test_what_the_form_cannot_take_over_is_named(info, source, note, tmp_path):
    filled = run_again(info, tmp_path, LOCAL)
    assert filled.request.source == source
    assert any(note in one for one in filled.notes), filled.notes


def test_the_app_s_own_run_comes_back_with_what_changes_no_number(tmp_path):
    request = Request(memory="1GiB", per_class=10)
    job = jobs.new_job(tmp_path, request.arguments(), title="one")
    assert run_again(recorded(request), job.study, LOCAL).request == request
    assert run_again(recorded(request), job.study, PUBLIC).request == replace(request, memory=None)


@pytest.mark.parametrize("name", bundled_studies())
def test_every_bundled_study_fills_a_form_that_the_limits_allow(name):
    path = bundled_studies()[name]
    info = read_study(path).info
    for allowed in (LOCAL, PUBLIC):
        filled = run_again(info, path, allowed)
        if filled.request.source in ("digits", "folder"):
            check_request(filled.request, allowed)
    public = run_again(info, path, PUBLIC)
    assert public.request.source in ("digits", "features")
    assert "/" not in " ".join([*public.notes, str(public.request.query())])  # no path of the server


def test_in_public_hidden_options_are_refused_whatever_the_address_says(tmp_path):
    forged = parse_request({"batch_size": ["100000"], "source": ["digits"]})
    assert forged.batch_size == 100_000
    with pytest.raises(ValueError, match="batch_size must be the default on this server"):
        check_request(forged, PUBLIC)
    check_request(forged, LOCAL)
    filled = run_again(recorded(replace(NETWORK, batch_size=8)), tmp_path, PUBLIC)
    assert filled.request == Request()
    assert any("batch_size" in note for note in filled.notes)


def test_a_name_is_part_of_the_address_and_its_length_is_limited():
    named = Request(name="first try", per_class=5)
    assert parse_request(named.query()) == named
    assert named.title == "first try"
    assert "first try" not in " ".join(named.arguments())
    with pytest.raises(ValueError, match="name must have at most 80 characters"):
        check_request(replace(named, name="x" * 81), LOCAL)


def test_a_command_with_a_name_of_other_letters_has_a_folder():
    assert "--out=my-study" in Request(name="собаки").repeated_by()


def test_the_worker_gives_the_study_the_name_of_its_run(tmp_path):
    from core.study.store.description import change_description, read_description
    from explorer.runs.background.worker import name_study

    job = jobs.new_job(tmp_path, Request().arguments(), title="first try", name="first try")
    name_study(job.folder, list(job.arguments))
    assert not job.study.exists()  # nothing to name
    job.study.mkdir()
    Path(job.study / "study.json").touch()
    name_study(job.folder, list(job.arguments))
    assert read_description(job.study).name == "first try"
    change_description(job.study, name="better")
    name_study(job.folder, list(job.arguments))
    assert read_description(job.study).name == "better"
