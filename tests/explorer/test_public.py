"""What strangers may do: nothing that names a place on the server, and nothing that is too much for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from explorer.runs.background.jobs import Job, Status, new_job
from explorer.runs.background.planning import PlanError, plan
from explorer.runs.job_view import hide_paths, time_text
from explorer.runs.request import Request, check_plan, check_request, models, parse_request, sources, weights_of
from explorer.runs.study_list import study_path
from explorer.server.public_mode import is_public, limits, studies_folder

LOCAL = limits({})
SMALL = limits({"SI_EXPLORER_PUBLIC": "1"})
LARGE = limits({"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_MEMORY": "4GiB"})


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)])
def test_public_is_asked_for_by_a_variable(value, expected):
    assert is_public({"SI_EXPLORER_PUBLIC": value}) == expected


def test_networks_need_memory_that_was_granted():
    assert (LOCAL.networks, SMALL.networks, LARGE.networks) == (True, False, True)
    assert models(SMALL) == ["pixels"]
    assert sources(SMALL) == ["digits", "features"]
    assert sources(LARGE) == ["digits", "features", "images"]
    assert "efficientnet-b0" in models(LARGE)
    assert {"folder", "tfds"} < set(sources(LOCAL))
    with pytest.raises(ValueError, match="memory must be"):
        limits({"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_MEMORY": "much"})


def test_runs_are_kept_where_the_server_says(tmp_path):
    assert studies_folder({"SI_EXPLORER_STUDIES": str(tmp_path)}) == tmp_path
    assert studies_folder({}) == Path.cwd() / "studies"
    assert Path.cwd() not in studies_folder({"SI_EXPLORER_PUBLIC": "1"}).parents


@pytest.mark.parametrize(
    "request_",
    [
        Request(source="folder", data="/etc"),
        Request(source="tfds", data="mnist"),
        Request(source="digits", model="efficientnet-lite0"),
        Request(source="images", data=".uploads/x/y"),
    ],
)
def test_a_small_public_server_refuses_paths_and_networks(request_):
    with pytest.raises(ValueError, match="on this server"):
        check_request(request_, SMALL)
    check_request(request_, LOCAL)


@pytest.mark.parametrize(
    "change", [{"weights": "/home/x/model.keras"}, {"model": "resnet50"}, {"spool": "/tmp"}, {"model": "/etc/passwd"}]
)
def test_a_large_public_server_refuses_files_of_its_own(change):
    asked = Request(model="efficientnet-lite0")
    check_request(asked, LARGE)
    with pytest.raises(ValueError, match="on this server"):
        check_request(replace(asked, **change), LARGE)


@pytest.mark.parametrize("change", [{"cluster": "tcp://localhost:8786"}, {"cluster_storage": "s3://bucket"}])
@pytest.mark.parametrize("server", [SMALL, LARGE])
def test_a_public_server_connects_to_no_cluster(change, server):
    check_request(Request(**change), LOCAL)
    with pytest.raises(ValueError, match="cluster must be empty on this server"):
        check_request(Request(**change), server)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"neighbors": 101}, "neighbors must be between 1 and 100; got 101"),
        ({"repeats": 0}, "repeats must be between 1 and 100; got 0"),
        ({"seed": 2**32}, "seed must be between 0 and 4,294,967,295; got 4,294,967,296"),
        ({"per_class": 1}, "per_class must be between 2 and 2,147,483,647; got 1"),
        ({"seed": -1, "repeats": 0}, "repeats must be .*seed must be"),
    ],
)
@pytest.mark.parametrize("server", [LOCAL, SMALL])
def test_numbers_out_of_the_form_s_ranges_are_refused_together(server, change, words):
    check_request(Request(seed=2**32 - 1, repeats=100, neighbors=1, per_class=2), server)
    with pytest.raises(ValueError, match=words):
        check_request(replace(Request(), **change), server)


@pytest.mark.parametrize("number", ["0" * 31 + "7", "9" * 12, "٣", "1.5", "-1"])
def test_a_number_of_the_address_that_the_form_cannot_show_stays_at_the_default(number):
    assert parse_request({name: [number] for name in ("seed", "repeats", "neighbors")}) == Request()


def test_data_must_be_given():
    with pytest.raises(ValueError, match="data must be given: the path of a folder"):
        check_request(Request(source="folder"), LOCAL)


def test_a_plan_that_is_too_large_is_refused():
    check_plan({"samples": 5000, "layers": ["a"] * 100}, SMALL)
    with pytest.raises(ValueError, match="at most 5,000 samples on this server; got 5,001"):
        check_plan({"samples": 5001, "layers": ["a"]}, SMALL)
    with pytest.raises(ValueError, match="at most 100 layers on this server; got 101"):
        check_plan({"samples": 10, "layers": ["a"] * 101}, SMALL)
    check_plan({"samples": 1_000_000, "layers": ["a"] * 1000}, LOCAL)


def test_a_path_names_a_study_only_locally(monkeypatch, tmp_path):
    assert study_path(str(tmp_path), {}) == tmp_path
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    with pytest.raises(ValueError, match="There is no study with this name"):
        study_path(str(tmp_path), {"dogs": tmp_path})
    assert study_path("dogs", {"dogs": tmp_path}) == tmp_path


def test_arguments_of_a_study():
    assert Request().arguments() == ("study", "digits", "--out=study", "--model=pixels")
    network = Request(model="efficientnet-lite0", layers="all", per_class=10, sizes="50,100", pooling="both", seed=3)
    assert network.arguments()[3:] == ("--layers=all", "--pooling=both", "--per-class=10", "--sizes=50,100", "--seed=3")


def test_arguments_of_a_cluster_and_of_a_choice():
    request = Request(cluster="tcp://host:8786", cluster_storage="s3://bucket/a", precision=0.007)
    assert request.arguments()[4:] == (
        "--precision=0.007", "--cluster=tcp://host:8786", "--cluster-storage=s3://bucket/a",
    )  # fmt: skip
    assert Request(cluster_storage="here").arguments()[-1] == f"--cluster-storage={Path.cwd() / 'here'}"
    assert Request(allow_long_search=True).arguments()[-1] == "--allow-long-search"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_says_itself_what_network_it_holds(suffix):
    """A run works in a folder of its own, so the file's path is absolute; its weights are not asked for."""
    file = f"nets/mine{suffix}"
    as_model = Request(source="folder", data="/x", model=file)
    assert as_model.arguments()[3:] == (f"--model={Path.cwd() / file}",)
    as_weights = Request(source="folder", data="/x", model="efficientnet-lite0", weights=file)
    assert as_weights.arguments()[3:] == (f"--weights={Path.cwd() / file}",)
    named = Request(source="folder", data="/x", model="resnet50", weights=file)
    assert named.arguments()[3:] == ("--model=resnet50", f"--weights={Path.cwd() / file}")
    assert {one.title for one in (as_model, as_weights, named)} == {f"x, mine{suffix}"}
    assert weights_of(file) == ()


def test_no_text_of_the_form_becomes_another_option():
    request = Request(model="efficientnet-lite0", layers="--out=/tmp/x", weights="--spool /tmp")
    assert "--layers=--out=/tmp/x" in request.arguments()
    assert "--weights=--spool /tmp" in request.arguments()
    assert Request(source="folder", data="--out=/x").arguments()[1].startswith("/")


def test_arguments_of_features():
    request = Request(source="features", data=".uploads/ab/layer.npy", labels=".uploads/ab/labels.npy")
    expected = ("measure", ".uploads/ab/layer.npy", "--out=study", "--labels=.uploads/ab/labels.npy", "--neighbors=10")
    assert request.arguments() == expected
    names = {".uploads/ab/layer.npy": "My layer.npy", ".uploads/ab/labels.npy": "my labels.npy"}
    expected = "python -m core measure 'My layer.npy' --out=layer-study '--labels=my labels.npy' --neighbors=10"
    assert request.repeated_by(names) == expected


def test_arguments_of_test_samples_metric_and_related_measures():
    asked = Request(
        source="features", data="a.npy", metric="cosine", related_measures=True, test="t.npy", test_labels="t.csv"
    )
    further = ("--neighbors=10", "--metric=cosine", "--test=t.npy", "--test-labels=t.csv", "--related-measures")
    assert asked.arguments() == ("measure", "a.npy", "--out=study", *further)
    assert Request(related_measures=True).arguments()[-1] == "--related-measures"
    assert "--metric=cosine" not in Request(metric="cosine").arguments()  # images have but one


def test_the_options_of_features_are_in_the_address_their_files_are_not():
    asked = Request(source="features", metric="cosine", related_measures=True, test=".uploads/ab/t.npy")
    assert asked.query() == {"source": ["features"], "metric": ["cosine"], "related_measures": ["True"]}
    assert parse_request(asked.query()) == Request(source="features", metric="cosine", related_measures=True)
    assert parse_request({"metric": ["nonsense"], "related_measures": ["maybe"], "test": ["/etc/passwd"]}) == Request()


def test_the_form_is_in_the_address_and_comes_back_from_it():
    request = Request(source="folder", data="/my/images", model="resnet50", per_class=20, sizes="100,200", seed=1)
    assert parse_request(request.query()) == request
    assert Request().query() == {}
    cluster = Request(cluster="local:2", cluster_storage="s3://bucket")
    assert parse_request(cluster.query()) == cluster
    assert parse_request({"allow_long_search": ["True"], "precision": ["0.1"]}) == Request()  # chosen at each plan anew
    assert Request(allow_long_search=True, precision=0.1).query() == {}
    assert parse_request({"source": ["nonsense"], "seed": ["-1"], "per_class": ["many"], "other": ["1"]}) == Request()
    assert "data" not in Request(source="features", data=".uploads/ab").query()


def test_weights_are_those_of_the_network():
    assert "noisy-student" in weights_of("efficientnet-b0")
    assert weights_of("resnet50") == ("imagenet", "none")


def test_a_plan_comes_from_the_command_line(tmp_path):
    found = plan(Request(per_class=5).arguments(), tmp_path, timeout_s=60)
    assert (found["samples"], found["classes"], found["layers"]) == (100, 10, ["input"])


def test_a_plan_that_is_refused_says_why_in_the_command_lines_words(tmp_path):
    with pytest.raises(PlanError, match=r"^per_class must be at most"):
        plan(Request(per_class=1000).arguments(), tmp_path, timeout_s=60)
    with pytest.raises(PlanError, match="more than 0 s"):
        plan(Request().arguments(), tmp_path, timeout_s=0.01)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'/tmp/separation/.uploads/ab/layer.npy' cannot be read", "'layer.npy' cannot be read"),
        ("../.uploads/ab12/features must hold", "features must hold"),
        ("'train/glass/00.png' cannot be read", "'train/glass/00.png' cannot be read"),
        ("3/4 of the and/or samples", "3/4 of the and/or samples"),
        ("got 4 of 'a (train)'.", "got 4 of 'a (train)'."),
    ],
)
def test_paths_are_hidden(text, shown):
    assert hide_paths(text) == shown


def test_time_left_follows_the_plan_then_the_layers():
    job = Job(Path("x"), (), "x", num_layers=4, estimated_s=100.0)
    assert time_text(job, Status("running", 0, elapsed_s=40.0)) == "40 s so far, about 60 s left"
    assert time_text(job, Status("running", 0, elapsed_s=120.0, stage_left_s=600)) == "2 min so far, about 10 min left"
    assert (
        time_text(replace(job, estimated_s=0), Status("running", 1, elapsed_s=20.0)) == "20 s so far, about 60 s left"
    )


def test_in_public_only_linked_runs_are_listed(monkeypatch, tmp_path, open_view):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path / "studies"))
    own, _ = (new_job(tmp_path / "studies", ("study",), title=name) for name in ("Own", "Other"))
    said = [element.value for element in open_view("new_study", run=own.id).markdown]
    assert any("Own" in text for text in said)
    assert any("Other" in text for text in said)
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    said = [element.value for element in open_view("new_study", run=own.id).markdown]
    assert any("Own" in text for text in said)
    assert not any("Other" in text for text in said)


@pytest.mark.parametrize("view", ["layers", "compare", "sample_size"])
def test_in_public_a_path_in_the_address_opens_nothing(monkeypatch, open_view, tiny_study, view):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    page = open_view(view, study=str(tiny_study))
    assert "There is no study with this name" in page.error[0].value
    assert not page.get("vega_lite_chart")
