"""The page New study, run by Streamlit's own test driver. Runs in a browser are in test_new_study_in_browser."""

import time

import pytest
from PIL import Image

from core.study.store.locks import held_lock
from explorer.runs.background import jobs
from explorer.runs.request import in_form_words


@pytest.fixture
def studies(monkeypatch, tmp_path):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path / "studies"))
    return tmp_path / "studies"


def press(page, key: str):
    page.button(key=key).click().run()
    assert not page.exception, page.exception
    return page


def wait_until_over(job: jobs.Job) -> None:
    deadline = time.monotonic() + 60
    while not jobs.status(job).is_over:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def keys(page) -> set[str]:
    return {button.key for button in page.button}


def test_the_plan_comes_before_the_start_and_the_run_ends_in_a_study(studies, open_view):
    page = open_view("new_study", per_class="10")
    assert "start_run" not in keys(page)
    press(page, "show_plan")
    assert [one.value for one in page.metric][:3] == ["200", "10", "1"]
    assert page.code[0].value == "python -m core study digits --out=digits-pixels-study --model=pixels --per-class=10"
    press(page, "start_run")
    job = jobs.list_jobs(studies)[0]
    assert page.query_params["run"] == job.id
    wait_until_over(job)
    page.run()
    assert any("Finished" in one.value for one in page.markdown)
    assert "open_run" in keys(page)
    again = open_view("layers", study=job.id)
    assert "run · pixels · digits" in again.selectbox(key="study").options


def test_start_works_at_once_and_the_plan_is_shown_while_it_starts(studies, open_view):
    page = open_view("new_study", per_class="10", name="first try")
    press(page, "start_at_once")
    job = jobs.list_jobs(studies)[0]
    assert page.query_params["run"] in (job.id, [job.id])
    assert [one.value for one in page.metric][:3] == ["200", "10", "1"]
    assert "The plan" in [one.label for one in page.expander]
    wait_until_over(job)
    page = open_view("new_study", run=job.id)
    assert any("· first try" in one.value for one in page.markdown)
    again = open_view("layers", study=job.id)
    assert "first try · pixels · digits" in again.selectbox(key="study").options


def test_a_folder_of_studies_that_cannot_be_made(open_view, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path / "file" / "studies"))
    page = press(open_view("new_study", per_class="10"), "start_at_once")
    told = page.error[0].value.replace("\\", "")
    assert "SI_EXPLORER_STUDIES must be a folder that can be written to" in told
    assert f"and {tmp_path / 'file'} is a file" in told


def test_two_visitors_who_start_at_the_same_moment_do_so_one_after_the_other(studies, open_view, monkeypatch):
    monkeypatch.setattr(jobs, "START_S", 0.1)
    page = open_view("new_study", per_class="10")
    press(page, "show_plan")
    studies.mkdir(parents=True, exist_ok=True)
    with held_lock(studies / ".starting", 1):  # as long as another run is being started
        press(page, "start_run")
    assert page.warning[0].value == "Another run is being started. Try again in a moment. Nothing is lost."
    assert not jobs.list_jobs(studies)


def test_start_does_not_start_what_is_refused(studies, open_view):
    page = open_view("new_study", per_class="1000")
    press(page, "start_at_once")
    assert "per_class must be at most" in page.error[0].value.replace("\\", "")
    assert not jobs.list_jobs(studies)


def test_what_is_refused_is_told_beside_the_form_and_loses_nothing(studies, open_view):
    page = open_view("new_study", per_class="1000", seed="7")
    press(page, "show_plan")
    assert "per_class must be at most" in page.error[0].value.replace("\\", "")
    assert page.number_input(key="new per class").value == 1000
    assert page.number_input(key="new seed").value == 7
    assert page.query_params["per_class"] == ["1000"] or page.query_params["per_class"] == "1000"
    page.number_input(key="new per class").set_value(10).run()
    assert not page.error
    assert any("has changed" in one.value for one in page.caption)


def test_a_folder_that_is_not_there(studies, open_view):
    page = open_view("new_study", source="folder", data="/no/such/folder")
    press(page, "show_plan")
    assert "there is no folder" in page.error[0].value


@pytest.mark.parametrize(
    ("text", "in_form"),
    [
        ("argument --sizes: sizes must be whole numbers", "sizes must be whole numbers"),
        ("argument --pooling: invalid choice: 'max'", "argument --pooling: invalid choice: 'max'"),
        ("Name the labels with --labels COLUMN.", "Name the labels in the field for the column that holds them."),
    ],
)
def test_a_message_of_the_command_line_is_told_in_words_of_the_form(text, in_form):
    assert in_form_words(text) == in_form


def save_messy_folder(root) -> None:
    """Two classes of 4 images, one of a single image, and a broken file."""
    for name, count in {"cat": 4, "dog": 4, "single": 1}.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (8, 8), 40 * number + len(name)).save(root / name / f"{number}.png")
    (root / "cat" / "broken.png").write_bytes(b"broken")


def test_all_that_is_wrong_with_a_folder_is_told_in_the_words_of_the_form(studies, open_view, tmp_path):
    save_messy_folder(tmp_path / "messy")
    page = open_view("new_study", source="folder", data=str(tmp_path / "messy"), model="pixels")
    press(page, "show_plan")
    said = page.error[0].value.replace("\\", "")
    assert "2 things are wrong with" in said
    assert "got 1 of 'single'" in said
    assert "1 of 10 cannot be read: 'cat/broken.png'" in said
    assert said.endswith("tick “Leave out small classes” and “Leave out unreadable images”")
    assert "--" not in said
    page.checkbox(key="new skip broken").check().run()
    page.checkbox(key="new skip small classes").check().run()
    press(page, "show_plan")
    assert [one.value for one in page.metric][:3] == ["8", "2", "1"]
    said = [one.value for one in page.caption]
    assert any("1 class is left out as too small" in text for text in said)
    assert any("The data have no splits" in text for text in said)
    assert page.code[0].value.endswith("--skip-broken --skip-small-classes")


def test_a_folder_can_be_measured_whole(studies, open_view, tmp_path):
    save_messy_folder(tmp_path / "set")
    form = {"source": "folder", "data": str(tmp_path / "set"), "model": "pixels", "skip_broken": "True"}
    page = open_view("new_study", **form, skip_small_classes="True")
    page.number_input(key="new test fraction").set_value(0.0).run()
    press(page, "show_plan")
    assert [one.value for one in page.metric][:3] == ["8", "2", "1"]
    assert "--test-fraction=0 " in page.code[0].value
    assert page.query_params["test_fraction"] in ("0.0", ["0.0"])
    again = open_view("new_study", **form, test_fraction="0.0")
    assert again.number_input(key="new test fraction").value == 0


def test_features_ask_for_a_file(studies, open_view):
    page = open_view("new_study", source="features")
    press(page, "show_plan")
    assert "choose a file to upload" in page.error[0].value


def test_the_form_is_restored_from_the_address(studies, open_view):
    page = open_view("new_study", source="folder", data="/my/images", model="resnet50", weights="none", sizes="100")
    assert page.text_input(key="new folder").value == "/my/images"
    assert page.selectbox(key="new network").value == "resnet50"
    assert page.selectbox(key="new weights of resnet50").value == "none"
    assert page.text_input(key="new sizes").value == "100"


def test_a_cluster_is_a_field_and_its_plan_says_what_it_does(studies, open_view):
    page = open_view("new_study", per_class="10", cluster="local:2:1GiB")
    assert page.text_input(key="new cluster").value == "local:2:1GiB"
    press(page, "show_plan")
    said = [one.value for one in page.caption]
    assert any("on 2 workers of 1,024 MiB, in 12 tasks" in text for text in said)  # 9 of three batches, 3 searches
    assert "--cluster=local:2:1GiB" in page.code[0].value
    assert page.query_params["cluster"] in ("local:2:1GiB", ["local:2:1GiB"])


def test_a_run_on_a_cluster_is_shown_like_any_other(studies, open_view):
    page = open_view("new_study", per_class="10", cluster="local:1:1GiB")
    press(page, "show_plan")
    press(page, "start_run")
    (job,) = jobs.list_jobs(studies)
    wait_until_over(job)
    assert jobs.status(job).state == "complete", jobs.log_lines(job)
    assert '"done": 200, "total": 200, "unit": "images"' in (job.folder / "log.txt").read_text()
    page.run()
    assert "open_run" in keys(page)


def test_a_cluster_that_is_none_is_refused_in_the_commands_words(studies, open_view):
    page = open_view("new_study", per_class="10", cluster="nowhere")
    press(page, "show_plan")
    assert "cluster must be local:N" in page.error[0].value.replace("\\", "")
    assert "start_run" not in keys(page)


def test_a_study_of_hours_starts_one_way_or_the_other(studies, open_view, monkeypatch):
    def long(request, allowed, report):
        offered = {"exact_s": 40_000.0, "sampled_s": 700.0, "precision": 0.007}
        plan = {"samples": 200, "splits": {"train": 200}, "classes": 10, "layers": ["input"], "passes": []}
        return plan | {"estimated_s": 40_000.0, "choice": offered}

    monkeypatch.setattr("explorer.app_pages.new_study.plan_view.planned", long)
    page = open_view("new_study", per_class="10")
    press(page, "show_plan")
    assert "takes more than 4 hours" in page.info[0].value
    labels = {button.key: button.label for button in page.button}
    assert labels["start_run"] == "Start with sampled queries, ≈ 12 min"
    assert labels["start_exact_run"] == "Start with every sample, ≈ 11.1 h"
    sampled, exact = page.code[0].value.splitlines()
    assert sampled.endswith("--precision=0.007")
    assert exact.endswith("--allow-long-search")
    press(page, "start_exact_run")
    (job,) = jobs.list_jobs(studies)
    assert "--allow-long-search" in job.arguments
    assert job.estimated_s == 40_000.0
    wait_until_over(job)
    assert jobs.status(job).state == "complete"


def test_in_public_there_is_no_field_for_a_path(studies, open_view, monkeypatch):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    forged = {"data": "/etc", "spool": "/tmp", "cluster": "tcp://localhost:8786", "cluster_storage": "/tmp"}
    page = open_view("new_study", source="folder", model="efficientnet-lite0", **forged)
    assert {one.key for one in page.text_input} == {"new name", "new sizes"}
    assert page.selectbox(key="new model").options == ["pixels (no network)"]


def test_in_public_a_second_run_waits(studies, open_view, monkeypatch, another_works):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    page = open_view("new_study", per_class="10")
    press(page, "show_plan")
    assert any("Up to 5 others wait in line" in one.value for one in page.caption)
    with another_works(studies):
        press(page, "start_run")
        job = jobs.list_jobs(studies)[0]
        assert jobs.status(job).state == "waiting"
        assert any("Waiting in line" in one.value for one in page.markdown)
        assert any("1 run before yours" in one.value for one in page.caption)
        again = open_view("new_study", run=job.id)  # a reload, in a session that knows nothing
        assert any("1 run before yours" in one.value for one in again.caption)
        press(again, "stop_run")
        wait_until_over(job)
        page.run()
        assert "resume_run" in keys(page)
        press(page, "resume_run")
        assert jobs.status(job).state == "waiting"
    wait_until_over(job)
    assert jobs.status(job).state == "complete"


def test_in_public_a_visitor_has_one_place_in_line(studies, open_view, monkeypatch, another_works):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    page = open_view("new_study", per_class="10")
    press(page, "show_plan")
    with another_works(studies):
        press(page, "start_run")
        (first,) = jobs.list_jobs(studies)
        page.number_input(key="new per class").set_value(9).run()
        press(page, "show_plan")
        press(page, "start_run")
        assert "You already have an active run: digits, pixels" in page.warning[0].value
        assert [job.id for job in jobs.list_jobs(studies)] == [first.id]

        other = open_view("new_study", per_class="9")  # another visitor
        press(other, "show_plan")
        press(other, "start_run")
        assert len(jobs.list_jobs(studies)) == 2
    for job in jobs.list_jobs(studies):
        wait_until_over(job)


def test_in_public_the_line_has_an_end(studies, open_view, monkeypatch):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    page = open_view("new_study", per_class="10")
    press(page, "show_plan")
    monkeypatch.setattr(jobs, "num_waiting", lambda studies: 5)
    press(page, "start_run")
    assert "5 runs wait in line, and no more may" in page.warning[0].value
    assert jobs.list_jobs(studies) == []
    assert "start_run" in keys(page)


def test_metric_and_related_measures_are_fields_of_the_form(studies, open_view):
    page = open_view("new_study", source="features", metric="cosine", related_measures="True")
    assert page.segmented_control(key="new metric").value == "cosine"
    assert page.checkbox(key="new related measures").value
    page = open_view("new_study", per_class="10", related_measures="True")
    press(page, "show_plan")
    assert page.code[0].value.endswith("--per-class=10 --related-measures")


def test_a_link_to_a_run_that_is_gone(studies, open_view):
    page = open_view("new_study", run="digits-0123456789abcdef")
    assert "not here any more" in page.info[0].value
