"""What a person in a notebook meets: names, signatures, slips, and cells that run again."""

import inspect
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import core
from core.analysis.comparing import compare_studies
from core.analysis.layer_overlap import neighbor_overlap
from core.study.store.opening import TABLES

LABELS = np.repeat([0, 1], 6)
FEATURES = np.random.default_rng(0).normal(size=(12, 3)) + 5 * LABELS[:, None]


def test_dir_holds_the_public_names_only():
    assert dir(core) == sorted([*core.__all__, "__version__"])


@pytest.mark.parametrize("name", [name for name in core.__all__ if name != "StudyError"])
def test_signatures_are_readable(name):
    member = getattr(core, name)
    methods = (
        [method for method in vars(member).values() if inspect.isfunction(method)] if inspect.isclass(member) else []
    )
    public = [method for method in methods if not method.__name__.startswith("_")]
    for function in (member, *public):
        text = str(inspect.signature(function))
        assert " at 0x" not in text
        assert not re.search(r"numpy\.|collections\.abc|[a-z]\._", text)


def test_a_wrong_name_in_core_lists_the_right_ones():
    with pytest.raises(AttributeError, match=r"has no attribute 'seperation_index'; it has .*separation_index"):
        _ = core.seperation_index


@pytest.fixture
def study(tmp_path):
    return core.study_from_features({"a": FEATURES}, LABELS, out=tmp_path / "study")


def test_a_wrong_table_lists_the_right_ones(study):
    with pytest.raises(
        core.StudyError, match=r"must be one of layers, .*; got 'neighbours'\. Did you mean 'neighbors'"
    ):
        study.table("neighbours")
    with pytest.raises(core.StudyError, match=r"columns must be some of position, .*; got 'chanels'\."):
        study.table("layers", columns=["layer", "chanels"])


def test_a_wrong_attribute_lists_the_tables(study):
    with pytest.raises(AttributeError, match=r"no attribute 'measurments'\. Did you mean 'measurements'\? Its tables"):
        _ = study.measurments
    assert not hasattr(study, "_repr_nonsense_")
    assert all(hasattr(study, name) for name in TABLES if name in dir(study))


def test_a_path_in_place_of_a_study_says_how_to_open_it(study):
    path = str(study.path)
    calls = [
        *(core.label_errors, core.marks, core.duplicates, core.confused_classes, core.class_separation),
        *(core.class_clusters, core.prediction_depths, partial(core.class_pair, first="0", second="1")),
        *(partial(core.sample_path, sample="0"), partial(compare_studies, after=study), neighbor_overlap),
    ]
    for call in calls:
        with pytest.raises(core.StudyError, match=rf"got str\. Open it: core\.load_study\('{path}'\)"):
            call(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda study: study.plot_against("depth"), r"got 'depth'\. Depth is 'channels'"),
        (lambda study: study.plot_against("chanels"), r"got 'chanels'\. Did you mean 'channels'"),
        (lambda study: study.plot_classes("late1"), r"got 'late1'\. Did you mean 'late'"),
        (lambda study: study.plot(samples="trian"), r"got 'trian'\. Did you mean 'train'"),
        (lambda study: core.class_pair(study, 0, 7), r"first must be a class of the study; got 0"),
        (lambda study: core.sample_path(study, 77), r"sample must be an id of the study; got 77"),
        (
            lambda study: core.sample_path(study, "Rex"),
            r"Ids are .+ and \d+ more: the column id of .*samples\.parquet\.",
        ),
        (lambda study: core.load_study(study.path.parent), r"Choose one of the studies in it: study\."),
        (lambda _: core.load_study(None), "path must be that of a study's folder; got NoneType"),
        (lambda _: core.run_study("digits", "out"), r"got str\. Pass core\.StudyOptions\('digits'\)"),
        (lambda _: core.plan_study("digits"), r"options must be a core\.StudyOptions; got str"),
        (lambda _: core.fine_tune("digits", "out"), r"got str\. Pass core\.FineTuneOptions\('digits'\)"),
    ],
)
def test_slips_are_told_with_what_was_meant(tmp_path, call, message):
    study = core.study_from_features({"early": FEATURES, "late": FEATURES[:, :2]}, LABELS, out=tmp_path / "study")
    with pytest.raises(ValueError, match=message):
        call(study)


MISSING = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import core
{code}
"""


def in_base_install(code, folder):
    """Run code where only the base is installed."""
    packages = ("keras", "tensorflow", "dask", "distributed", "torch")
    command = [sys.executable, "-c", MISSING.format(packages=packages, code=code)]
    environ = {"PYTHONPATH": str(core.__path__[0] + "/..")}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120)


def test_help_and_all_names_can_be_had_in_the_base_install(tmp_path):
    code = "import pydoc, inspect; from core import *; inspect.getmembers(core); print(pydoc.render_doc(core))"
    run = in_base_install(code, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "study_from_torch" in run.stdout


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("core.SeparationCallback", "network"),
        ("core.plan_study(core.StudyOptions('digits', model='resnet50'))", "network"),
        ("core.plan_study(core.StudyOptions('digits'))", "network"),
        ("core.study_from_torch(None, [], 's')", "torch"),
        ("core.fine_tune(core.FineTuneOptions('digits'), 'tuned')", "network"),
        (
            "core.run_study(core.StudyOptions('digits', model='pixels'), 's', engine=core.DaskEngine('local:1'))",
            "cluster",
        ),
    ],
)
def test_a_missing_extra_is_named(code, extra, tmp_path):
    run = in_base_install(code, tmp_path)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError")
    assert f"pip install -e '.[{extra}]'" in last
