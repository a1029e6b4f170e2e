"""Whatever a study folder holds and whatever a link says, a page shows a sentence and never a traceback."""

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import core
from explorer.runs import job_view
from explorer.runs.jobs import Status, new_job
from explorer.runs.request import Request, asked_request, check_request
from explorer.server.public_mode import limits
from tests.damage import (
    Damage,
    damaged_copy,
    ranking_damages,
    set_json,
    side_file_damages,
    study_damages,
    training_damages,
    write_blocks,
    write_small_ranking,
    write_small_study,
    write_small_training,
)

EXPLORER = Path(__file__).resolve().parents[2] / "explorer"
ABOUT_STUDIES = ("layers", "compare", "classes", "samples", "sample_size", "decide", "training")
PAGES = (*ABOUT_STUDIES, "new_study", "method")
CALLBACKS = ("on_click", "on_change", "on_select", "on_submit", "on_dismiss")
EVERY = 60  # of the corpus; `python -m tests.benchmarks.damage` tries all of it
FORGED = (
    *("", "0", "-1", "99999", "1" * 30, "9" * 5000, "nan", "inf", "1e999", "²", "٣", "a\0b", "../../etc/passwd", "*"),
    *(
        "~nobody/x",
        "x" * 100_000,
        "<script>alert(1)</script>",
        "[x](javascript:1)",
        "[[",
        "test",
        "mean",
        "both",
        "/dev",
    ),
)
PARAMETERS = (
    *("layer", "tolerance", "pooling", "samples", "knn", "kinds", "blocks", "layers", "span", "columns", "measure"),
    *("sampling", "table", "page", "pair", "sample", "shown", "class_name", "taken", "either", "sort", "mark", "open"),
    *("tiles", "epoch", "run"),
    *("before", "match", "source", "data", "model", "weights", "per_class", "sizes", "repeats", "neighbors", "memory"),
    *("spool", "seed", "related_measures", "metric", "cluster", "cluster_storage", "split", "test_fraction"),
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_study(tmp_path_factory.mktemp("small") / "study")


@pytest.fixture(autouse=True)
def _no_runs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path / "runs"))


def can_be_read(folder: Path) -> bool:
    try:
        core.load_study(folder)
    except core.StudyError:
        return False
    return True


@pytest.mark.parametrize("view", ABOUT_STUDIES)
def test_the_whole_study_is_shown(small: Path, open_view, view: str):
    assert not open_view(view, small).error


@pytest.mark.parametrize("damage", list(study_damages())[7::EVERY], ids=lambda damage: damage.name)
def test_damaged_studies(small: Path, tmp_path: Path, open_view, damage: Damage):
    folder = damaged_copy(small, damage, tmp_path / "damaged")
    if can_be_read(folder):
        for view in ABOUT_STUDIES:
            open_view(view, folder)
        return
    page = open_view("layers", folder)
    assert "This study cannot be opened" in page.error[0].value
    assert not page.get("vega_lite_chart")


@pytest.mark.parametrize(
    ("damage", "view"),
    [
        ("study.json asked.weights long text", "layers"),
        ("curves.value null", "sample_size"),
        ("layers.output_shape empty lists", "compare"),
    ],
)
def test_damage_that_leaves_a_study(small: Path, tmp_path: Path, open_view, damage: str, view: str):
    """A path too long for any file; fitted curves without values; flat layers whose neighbors are stored twice."""
    one = next(one for one in study_damages() if one.name == damage)
    assert not open_view(view, damaged_copy(small, one, tmp_path / "damaged")).error


def in_table(name: str, column: str, value: object) -> Damage:
    """The same value in all rows of a column."""

    def change(folder: Path) -> None:
        path = folder / f"{name}.parquet"
        pd.read_parquet(path).assign(**{column: value}).to_parquet(path, index=False)

    return Damage(f"{name}.{column} {value}", change)


def without_measurements(folder: Path) -> None:
    (folder / "measurements.parquet").unlink()


@pytest.mark.parametrize("view", ABOUT_STUDIES)
@pytest.mark.parametrize(
    "damage", [in_table("measurements", "value", None), Damage("removed", without_measurements)], ids=["null", "gone"]
)
def test_a_study_without_any_value_says_so(small: Path, tmp_path: Path, open_view, view: str, damage: Damage):
    page = open_view(view, damaged_copy(small, damage, tmp_path / "empty"))
    assert "No layer of this study has a Separation Index." in page.info[0].value


def test_values_of_one_split_only_are_offered(small: Path, tmp_path: Path, open_view):
    def forget_test(folder: Path) -> None:
        path = folder / "measurements.parquet"
        table = pd.read_parquet(path)
        table.loc[table["split"] == "test", "value"] = None
        table.to_parquet(path, index=False)

    folder = damaged_copy(small, Damage("no test values", forget_test), tmp_path / "some")
    for view in ("classes", "samples", "sample_size", "decide"):
        page = open_view(view, folder)
        assert not page.error
        assert "No layer of this study" not in " ".join(info.value for info in page.info)


@pytest.mark.parametrize("view", ["classes", "samples"])
def test_labels_without_names_are_shown_as_numbers(small: Path, tmp_path: Path, open_view, view: str):
    folder = damaged_copy(small, in_table("samples", "class_name", None), tmp_path / "unnamed")
    assert not open_view(view, folder).error


@pytest.mark.parametrize(
    ("view", "asked"),
    [
        ("sample_size", {"command": "python -m core study 'pictures"}),
        ("samples", {"asked.data": "~nobody-here/pictures"}),
        ("samples", {"asked.data": "x" * 5000}),
        ("classes", {"asked.data": "~nobody-here/pictures"}),
        ("decide", {"asked.data": "x" * 5000, "asked.weights": f"{'x' * 5000}.keras"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_texts_that_are_no_command_and_no_path(tiny_study: Path, open_view, view: str, asked: dict):
    """A study without sizes, so that its command is offered again with some."""
    for name, value in asked.items():
        set_json("study.json", name, value)(tiny_study)
    assert not open_view(view, tiny_study).error


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("used.data.ignored_files", {".txt": "3"}, "'used.data.ignored_files.*' must be a whole number; got '3'"),
        ("used.data.white", {"integers": "255"}, "'used.data.white.*' must be a number or a whole number or null"),
        ("used.model.input_size", 224, "'used.model.input_size' must be a list or null; got 224"),
        ("used.kernels", {"threads": "2"}, "'used.kernels.threads' must be a whole number; got '2'"),
    ],
)
def test_fields_that_only_some_pages_read_are_checked_for_all(tiny_study: Path, field: str, value: object, words: str):
    set_json("study.json", field, value)(tiny_study)
    with pytest.raises(core.StudyError, match=re.escape(words)):
        core.load_study(tiny_study)


def test_a_damaged_study_to_compare_with(small: Path, tmp_path: Path, open_view):
    folder = damaged_copy(small, Damage("", lambda path: (path / "samples.parquet").unlink()), tmp_path / "damaged")
    page = open_view("compare", small, before=str(folder))
    assert "These studies cannot be compared" in page.error[0].value


def some(damages: Iterator[Damage], start: int, every: int) -> pytest.MarkDecorator:
    """A parameter with each of so many damages."""
    chosen = list(damages)[start::every]
    return pytest.mark.parametrize("damage", chosen, ids=[damage.name for damage in chosen])


@pytest.fixture(scope="module")
def with_blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blocks(write_small_study(tmp_path_factory.mktemp("blocks") / "study"))


@some(side_file_damages(), 5, 40)
def test_damaged_times_and_accuracies(with_blocks: Path, tmp_path: Path, open_view, damage: Damage):
    page = open_view("decide", damaged_copy(with_blocks, damage, tmp_path / "damaged"))
    assert not page.error


@pytest.fixture(scope="module")
def ranking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ranking")
    write_small_ranking(root / "ranking", root / "files")
    return root / "ranking"


def test_the_whole_ranking_is_shown(ranking: Path, open_view):
    page = open_view("decide", ranking / "good")
    assert any("good" in text.value and "separates these samples best" in text.value for text in page.markdown)


@some(ranking_damages(), 12, 70)
def test_damaged_rankings(ranking: Path, tmp_path: Path, open_view, damage: Damage):
    folder = damaged_copy(ranking, damage, tmp_path / "damaged")
    open_view("decide", folder / "bad")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_training(tmp_path_factory.mktemp("training") / "study")


@pytest.mark.parametrize("view", ABOUT_STUDIES)
def test_the_whole_training_is_shown(training: Path, open_view, view: str):
    assert not open_view(view, training).error


@some(training_damages(), 9, 70)
def test_damaged_trainings(training: Path, tmp_path: Path, open_view, damage: Damage):
    open_view("training", damaged_copy(training, damage, tmp_path / "damaged"))


@pytest.mark.parametrize("view", PAGES)
def test_forged_links(small: Path, open_view, view: str):
    rng = random.Random(view)
    for value in rng.sample(FORGED, 5):
        open_view(view, small, **dict.fromkeys(PARAMETERS, value))
    open_view(view, small, **{name: rng.choice(FORGED) for name in PARAMETERS})


@pytest.mark.parametrize("study", FORGED)
def test_forged_studies_in_links(small: Path, open_view, study: str):
    open_view("layers", small, study=study)


@pytest.mark.parametrize(
    ("query", "usual"),
    [
        ({"repeats": ["0"]}, {"repeats": 5}),
        ({"neighbors": ["99999"]}, {"neighbors": 10}),
        ({"seed": ["1" * 30]}, {"seed": 0}),
        ({"per_class": ["1"]}, {"per_class": None}),
        ({"repeats": ["100"], "neighbors": ["100"], "seed": [str(2**32 - 1)]}, {"repeats": 100, "seed": 2**32 - 1}),
        ({"data": ["a\0b"], "source": ["folder"]}, {"data": ""}),
        ({"layers": ["x" * 100_000]}, {"layers": Request().layers}),
    ],
)
def test_what_a_link_says_wrongly_stays_at_the_default(query: dict, usual: dict):
    request = asked_request(query)
    assert {name: getattr(request, name) for name in usual} == usual


def test_a_typed_path_with_a_nul_byte_is_told():
    with pytest.raises(ValueError, match="data must not hold NUL characters"):
        check_request(Request(source="folder", data="a\0b"), limits({}))
    assert Request(source="folder", data="a\0b").arguments()


# The last resort


def failing_page() -> None:
    import streamlit as st

    from explorer.server.page_errors import guarded

    def render() -> None:
        st.title("Before")
        raise KeyError("secret of the server")

    guarded(render)()


@pytest.mark.parametrize("public", [False, True])
def test_a_defect_is_a_sentence_on_the_page_and_a_traceback_in_the_log(
    public: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, expects_defects: None
):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1" if public else "0")
    page = AppTest.from_function(failing_page).run()
    assert page.title[0].value == "Before"
    assert not page.exception
    assert "**This page cannot be shown.** This is a bug." in page.error[0].value
    assert "secret" not in page.error[0].value
    assert "secret of the server" in caplog.text


def failing_job_page() -> None:
    import streamlit as st

    from explorer.runs import job_view
    from explorer.runs.jobs import list_jobs
    from explorer.server.public_mode import studies_folder

    def broken(*arguments: object) -> None:
        raise OSError("secret of the server")

    part = "cancel" if st.query_params.get("in") == "callback" else "_show_progress"
    setattr(job_view, part, broken)
    job_view.show_job(list_jobs(studies_folder())[0])
    st.title("After")


@pytest.mark.parametrize("place", ["fragment", "callback"])
@pytest.mark.parametrize("public", [False, True])
def test_a_run_s_panel_and_its_buttons_show_no_traceback(
    public: bool, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, expects_defects: None
):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1" if public else "0")
    job = new_job(tmp_path / "runs", ("study", "digits"), title="Digits")
    monkeypatch.setattr(job_view, "cancel", job_view.cancel)  # both as before, afterwards
    monkeypatch.setattr(job_view, "_show_progress", job_view._show_progress)
    monkeypatch.setattr(job_view, "may_change", lambda job: True)
    monkeypatch.setattr(job_view, "status", lambda job: Status("running", 0))
    page = AppTest.from_function(failing_job_page)
    page.query_params["in"] = place
    page.run()
    if place == "callback":
        assert not page.error
        page.button(key="stop_run").click().run()
    assert not page.exception
    assert "**This page cannot be shown.** This is a bug." in page.error[0].value
    assert "secret" not in page.error[0].value
    assert page.title[0].value == "After"
    assert "secret of the server" in caplog.text
    assert job.folder.is_dir()


def guarded_names(tree: ast.Module) -> set[str]:
    """The functions of a module that `guarded` decorates, or is called with."""
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        if any(ast.unparse(decorator) == "guarded" for decorator in node.decorator_list)
    }
    return names | {"ignore", "rerun"}  # of Streamlit: no function of ours


def test_every_fragment_and_callback_is_guarded():
    """Streamlit runs them by themselves, outside of the page that is guarded."""
    found = []
    for path in sorted(EXPLORER.rglob("*.py")):
        tree = ast.parse(path.read_text())
        safe = guarded_names(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and "st.fragment" in map(ast.unparse, node.decorator_list):
                found.append((path.name, node.name, node.name in safe))
            if isinstance(node, ast.Call):
                called = [keyword.value for keyword in node.keywords if keyword.arg in CALLBACKS]
                called += node.args[:1] if ast.unparse(node.func) == "st.fragment" else []
                for value in called:
                    text = ast.unparse(value).strip("'")
                    found.append((path.name, text, text.startswith("guarded(") or text in safe))
    assert [one for one in found if not one[2]] == []
    assert len(found) > 15


def stopped_page() -> None:
    import streamlit as st

    from explorer.server.page_errors import guarded

    def render() -> None:
        st.stop()

    guarded(render)()
    st.title("After")


def test_streamlits_own_signals_pass():
    page = AppTest.from_function(stopped_page).run()
    assert not page.title
    assert not page.error


def test_no_page_of_streamlits_own_shows_a_traceback():
    config = (EXPLORER / ".streamlit" / "config.toml").read_text()
    assert 'showErrorDetails = "none"' in config
    assert 'set_option("client.showErrorDetails", "none")' in (EXPLORER / "app.py").read_text()
    for view in EXPLORER.glob("app_pages/*/view.py"):
        assert view.read_text().endswith("\nguarded(render)()\n"), view
