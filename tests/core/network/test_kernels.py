"""core.network.kernels: asked for before TensorFlow is loaded, recorded as they are in effect, kept by what goes on."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from core.network import kernels
from core.network.kernels import MAX_ISA, ONEDNN, THREADS, Kernels, current_kernels, recorded_kernels
from core.study.resumed_kernels import (
    begin_as_recorded,
    go_on_with_kernels,
    kernel_cautions,
    refuse_other_kernels,
    with_instructions,
)
from core.study.store.opening import StudyError

ROOT = Path(__file__).resolve().parents[3]
ONE = Kernels(onednn=True, max_isa=None, threads=2, instructions="avx2")


def python(code: str, **variables: str) -> str:
    """What a fresh process prints, whose environment has of TensorFlow's settings just these."""
    settings = (ONEDNN, MAX_ISA, THREADS)
    environ = {name: value for name, value in os.environ.items() if name not in settings} | variables
    environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without settings, in a process that has not loaded TensorFlow."""
    monkeypatch.setattr(kernels, "tensorflow_is_loaded", lambda: False)
    monkeypatch.setattr("core.study.resumed_kernels.tensorflow_is_loaded", lambda: False)
    monkeypatch.setattr(kernels, "threads_per_operation", lambda: int(os.environ.get(THREADS, 4)))
    for name in (ONEDNN, MAX_ISA, THREADS):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards, whatever the test sets
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(("before", "after"), [({}, "1"), ({ONEDNN: "1"}, "1"), ({ONEDNN: "0"}, "0")])
def test_import_core_asks_for_onednn_unless_the_environment_says(before: dict[str, str], after: str):
    assert python("import core, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])", **before) == after


def test_it_leaves_the_environment_alone_where_tensorflow_is_loaded():
    code = "import sys, os; sys.modules['tensorflow'] = sys; import core; print('TF_ENABLE_ONEDNN_OPTS' in os.environ)"
    assert python(code) == "False"


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_what_a_loaded_tensorflow_does_counts_and_not_what_the_environment_says_now(onednn: str):
    code = (
        "import json, os, tensorflow; from dataclasses import asdict\n"
        f"os.environ['{ONEDNN}'] = '1' if os.environ['{ONEDNN}'] == '0' else '0'\n"
        "from core.network.kernels import current_kernels; print(json.dumps(asdict(current_kernels())))"
    )
    found = json.loads(python(code, TF_ENABLE_ONEDNN_OPTS=onednn, TF_NUM_INTRAOP_THREADS="3"))
    assert found["onednn"] is (onednn == "1")
    assert found["threads"] == 3


def test_threads_set_in_the_program_come_first():
    code = (
        "import tensorflow as tf; tf.config.threading.set_intra_op_parallelism_threads(5)\n"
        "from core.network.kernels import current_kernels; print(current_kernels().threads)"
    )
    assert python(code, TF_NUM_INTRAOP_THREADS="3") == "5"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({ONEDNN: "1"}, replace(ONE, threads=4)),
        ({ONEDNN: "0", THREADS: "3"}, replace(ONE, onednn=False, threads=3)),
        ({ONEDNN: "1", MAX_ISA: "avx2"}, replace(ONE, max_isa="AVX2", threads=4)),
        ({ONEDNN: "1", MAX_ISA: "DEFAULT"}, replace(ONE, threads=4)),
        ({}, replace(ONE, onednn=None, threads=4)),
    ],
)
def test_before_tensorflow_is_loaded_the_environment_counts(
    not_loaded: pytest.MonkeyPatch, environ: dict[str, str], expected: Kernels
):
    not_loaded.setattr(kernels, "_instructions", lambda: "avx2")
    for name, value in environ.items():
        not_loaded.setenv(name, value)
    assert current_kernels() == expected


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        (ONE, "oneDNN on avx2, 2 threads"),
        (replace(ONE, max_isa="AVX2", threads=1), "oneDNN limited to AVX2 on avx2, 1 thread"),
        (replace(ONE, onednn=False, instructions=None), "Eigen (oneDNN is off), 2 threads"),
        (replace(ONE, onednn=None, instructions=None), "unknown, 2 threads"),
    ],
)
def test_in_words(recorded: Kernels, text: str):
    assert str(recorded) == text


def test_what_was_recorded_is_read_again_as_far_as_it_is_there():
    assert recorded_kernels({"used": {"kernels": asdict(ONE)}}) == ONE
    for info in ({}, {"used": {}}, {"used": {"kernels": None}}, {"used": {"kernels": {"onednn": True}}}):
        assert recorded_kernels(info) is None


@pytest.mark.parametrize("recorded", [ONE, Kernels(False, "AVX2", 3, None)])
def test_what_goes_on_uses_what_it_began_with(not_loaded: pytest.MonkeyPatch, recorded: Kernels):
    not_loaded.setenv(ONEDNN, "0")
    not_loaded.setenv(MAX_ISA, "SSE41")
    begin_as_recorded({"state": "partial", "used": {"kernels": asdict(recorded)}})
    now = current_kernels()
    assert now is not None
    assert now.has_settings_of(recorded)


@pytest.mark.parametrize("info", [None, {"state": "partial"}, {"state": "complete", "used": {"kernels": asdict(ONE)}}])
def test_what_is_new_or_complete_changes_nothing(not_loaded: pytest.MonkeyPatch, info: dict[str, object] | None):
    not_loaded.setenv(ONEDNN, "0")
    begin_as_recorded(info)
    assert (os.environ[ONEDNN], THREADS in os.environ) == ("0", False)


def test_other_settings_are_refused_with_those_that_are_needed(tmp_path: Path):
    refuse_other_kernels(tmp_path, ONE, replace(ONE, instructions="avx512_bf16"))
    expected = (
        r"begun with other kernels of TensorFlow \(oneDNN on avx2, 2 threads\) than this process has loaded \(Eigen .*"
        rf"{THREADS}=2, {ONEDNN}=1, {MAX_ISA} unset; or choose another folder"
    )
    for other in (replace(ONE, onednn=False), replace(ONE, onednn=False, threads=1)):
        with pytest.raises(StudyError, match=expected):
            refuse_other_kernels(tmp_path, ONE, other)


def test_other_processors_go_on_and_it_is_said(tmp_path: Path):
    there = {"used": {"kernels": asdict(ONE)}}
    other = replace(ONE, instructions="avx512_bf16")
    info = go_on_with_kernels(tmp_path, there, {"used": {"kernels": asdict(other)}, "cautions": ["a caution"]})
    assert info["used"]["kernels"]["instructions"] == "avx2, avx512_bf16"
    assert info["cautions"][0] == "a caution"
    assert "different instruction sets (avx2, avx512_bf16)" in info["cautions"][1]
    again = go_on_with_kernels(tmp_path, dict(info), {"used": {"kernels": asdict(ONE)}, "cautions": []})
    assert again["used"]["kernels"]["instructions"] == "avx2, avx512_bf16"
    assert len(again["cautions"]) == 1


def test_one_kind_of_processor_needs_no_caution():
    assert kernel_cautions(None) == kernel_cautions(ONE) == kernel_cautions(with_instructions(ONE, ["avx2"])) == []
    both = with_instructions(ONE, ["avx2", "avx512_bf16", None])
    assert len(kernel_cautions(both)) == 1
    assert kernel_cautions(replace(both, max_isa="AVX2")) == []
