"""The shape of the project: which package may import which, what `import core` costs, what is required."""

import ast
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path.relative_to(ROOT) for name in ("core", "explorer") for path in (ROOT / name).rglob("*.py"))

# Room -> the rooms that it may import. `core` itself, with `core.label_text`, is open to all.
FOUNDATIONS = ("core.data", "core.network", "core.search")
STUDY = (*FOUNDATIONS, "core.measures", "core.study")
ROOMS = {
    "core.data": (),
    "core.network": (),
    "core.search": (),
    "core.measures": ("core.search",),
    "core.study": (*FOUNDATIONS, "core.measures"),
    "core.training": STUDY,
    "core.analysis": STUDY,
    "core.cluster": STUDY,
    "core.report": (*STUDY, "core.training", "core.analysis"),
    "core.commands": (*STUDY, "core.training", "core.analysis", "core.cluster", "core.report"),
}
MOST_MODULES = 12  # in a folder, not counting __init__.py and folders within it

# Package -> libraries that nothing in it may import.
APP_LIBRARIES = ("explorer", "streamlit", "altair")
NETWORK_LIBRARIES = ("tensorflow", "keras")
FORBIDDEN = {
    "core": APP_LIBRARIES,
    "core.data": NETWORK_LIBRARIES,
    "core.measures": (*NETWORK_LIBRARIES, "pandas"),
    "core.search": ("pandas",),
    "core.report": NETWORK_LIBRARIES,
}

# Those of the extra `cluster`, and who may import them.
CLUSTER = ("dask", "distributed", "fsspec")
KNOW_CLUSTER = ("core.cluster", "core.study.run")


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported(source: str) -> set[str]:
    """Every module that a source text imports; `from a import b` counts as a and a.b, for b may be a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            found |= {home} | {f"{home}.{alias.name}" for alias in node.names}
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_imports_are_found_wherever_they_stand():
    source = "import a.b as c\ndef f():\n    from core import network\nif 1:\n    from . import x\n"
    assert imported(source) == {"a.b", "core", "core.network", ".", "..x"}
    assert within("core.data.images.labelled_images", "core.data")
    assert not within("core.database", "core.data")


def test_there_is_something_to_check():
    names = [module_name(path) for path in MODULES]
    for package in [*FORBIDDEN, "explorer"]:
        assert sum(within(name, package) for name in names) >= 2, package


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_import_arrows_point_one_way(path: Path):
    forbidden = {bad for package, banned in FORBIDDEN.items() if within(module_name(path), package) for bad in banned}
    modules = imported((ROOT / path).read_text(encoding="utf-8"))
    assert not [module for module in modules for bad in forbidden if within(module, bad)]
    assert not [module for module in modules if module.startswith(".")], "imports are absolute"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_the_cluster_needs_its_extra(path: Path):
    modules = imported((ROOT / path).read_text(encoding="utf-8"))
    found = [module for module in modules for name in CLUSTER if within(module, name)]
    assert not found or any(within(module_name(path), package) for package in KNOW_CLUSTER)


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter that runs in the project's root."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return run.stdout


@pytest.mark.parametrize("code", ["import core", "import core; core.separation_index", "import core; core.load_study"])
def test_the_light_names_load_neither_tensorflow_nor_the_app(code: str):
    loaded = run_python(f"{code}\nimport sys\nprint(*sys.modules)").split()
    assert "core" in loaded
    assert not {"tensorflow", "keras", "streamlit", "altair", "torch", "PIL", "dask", "distributed"} & set(loaded)


def test_running_a_study_loads_tensorflow_only_for_a_network_and_dask_only_for_a_cluster():
    code = "import core; core.run_study; core.plan_study; import core.cli, sys; print(*sys.modules)"
    loaded = run_python(code).split()
    assert "core.study.run" in loaded
    assert not {"tensorflow", "dask", "distributed", "fsspec"} & set(loaded)


def test_every_public_name_can_be_had():
    code = "import core; print(*(name for name in core.__all__ if getattr(core, name) is None), sep='')"
    assert run_python(code) == "\n"


def test_an_unknown_name_is_an_error_that_lists_the_known():
    import core

    with pytest.raises(AttributeError, match=r"module 'core' has no attribute 'separation_indx'.*separation_index"):
        _ = core.separation_indx


def test_import_core_is_quick():
    code = "import time; t = time.perf_counter(); import core; print(time.perf_counter() - t)"
    elapsed_s = statistics.median(float(run_python(code)) for _ in range(3))
    assert elapsed_s < 0.5  # about 0.01 s: nothing heavy is imported at all


def test_requirements_are_the_base_install_and_the_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    assert required == [*project["dependencies"], *extras["network"], *extras["app"]]
