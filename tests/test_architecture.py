"""The shape of the project: which package may import which, what `import core` costs, what is required."""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path.relative_to(ROOT) for name in ("core", "explorer") for path in (ROOT / name).rglob("*.py"))

# Room -> the rooms that it may import. `core` itself is open to all.
FOUNDATIONS = ("core.data", "core.network", "core.search")
STUDY = (*FOUNDATIONS, "core.measures", "core.study")
ROOMS = {
    "core.data": (),
    "core.network": (),
    "core.search": (),
    "core.measures": ("core.data", "core.search"),
    "core.study": (*FOUNDATIONS, "core.measures"),
    "core.training": STUDY,
    "core.analysis": STUDY,
    "core.cluster": STUDY,
    "core.report": (*STUDY, "core.training", "core.analysis"),
    "core.commands": (*STUDY, "core.training", "core.analysis", "core.cluster", "core.report"),
}
# The same of the app; a page is a room of its own, and no page imports another.
APP_ROOMS = {
    "explorer.server": (),
    "explorer.state": (),
    "explorer.studies": ("explorer.server",),
    "explorer.runs": ("explorer.server", "explorer.state", "explorer.studies"),
    "explorer.controls": ("explorer.server", "explorer.state", "explorer.studies", "explorer.runs"),
}
# The one module that may import a room above its own, inside functions; its docstring says why.
UPWARD = {"core.study.store.display": ("core.report",)}
OPEN_TO_ALL = ("core", "explorer")
MOST_MODULES = 12  # in a folder, not counting __init__.py and folders within it

# Package -> libraries that nothing in it may import.
APP_LIBRARIES = ("explorer", "streamlit")
NETWORK_LIBRARIES = ("tensorflow", "keras")
FORBIDDEN = {
    "core": APP_LIBRARIES,
    "core.data": NETWORK_LIBRARIES,
    "core.measures": (*NETWORK_LIBRARIES, "pandas"),
    "core.search": ("pandas",),
    "core.report": NETWORK_LIBRARIES,
}

# Libraries of extras, and the only packages that may import them.
CLUSTER = ("dask", "distributed", "fsspec")
OWNERS = {**dict.fromkeys(CLUSTER, ("core.cluster",)), "altair": ("core.report.charts", "explorer")}

# Those of the extra `torch`, and who may import them.
TORCH = ("torch", "torchvision")
KNOW_TORCH = ("core.network.torch_models", "core.study.from_torch")


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported(source: str) -> set[str]:
    """Every module that a source text imports, by a statement or by `import_module("name")`.

    `from a import b` counts as a and a.b, for b may be a module.
    """
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            modules |= {home} | {f"{home}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "import_module",
            "__import__",
        ):
            modules |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return modules


def read_imports(path: Path) -> set[str]:
    return imported((ROOT / path).read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    """The room that a module is in: the package beneath core or explorer; a page is one, too."""
    depth = 3 if within(module, "explorer.app_pages") else 2
    return ".".join(module.split(".")[:depth])


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


ALL_ROOMS = {room_of(module_name(path)) for path in MODULES}


def test_imports_are_found_wherever_they_stand():
    source = (
        "import a.b as c\ndef f():\n    from core import network\nif 1:\n    from . import x\n"
        "importlib.import_module('tensorflow')\n"
    )
    assert imported(source) == {"a.b", "core", "core.network", ".", "..x", "tensorflow"}
    assert within("core.data.images.labelled_images", "core.data")
    assert not within("core.database", "core.data")
    assert room_of("core.data.images.labelled_images") == "core.data"
    assert room_of("explorer.app_pages.layers.view") == "explorer.app_pages.layers"


def test_there_is_something_to_check():
    names = [module_name(path) for path in MODULES]
    for package in [*ROOMS, *APP_ROOMS, *FORBIDDEN, "explorer.app_pages"]:
        assert sum(within(name, package) for name in names) >= 2, package


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_library_is_imported_where_it_must_not_be(path: Path):
    forbidden = [
        library for package, names in FORBIDDEN.items() if within(module_name(path), package) for library in names
    ]
    modules = read_imports(path)
    assert not [module for module in modules for library in forbidden if within(module, library)]
    assert not [module for module in modules if module.startswith(".")], "imports are absolute"


def may_import(room: str, other: str) -> bool:
    if room == other or other in OPEN_TO_ALL:
        return True
    if room in ROOMS:
        return other in ROOMS[room]
    if room in APP_ROOMS:
        return other in APP_ROOMS[room] or other in ROOMS or other == "core.cli"  # which a run's process starts
    if within(room, "explorer.app_pages"):
        return not within(other, "explorer.app_pages")
    return True  # core.cli, core.__main__, core itself; explorer.app and what it starts with


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_room_imports_one_above_it(path: Path):
    room = room_of(module_name(path))
    rooms = {room_of(module) for module in read_imports(path)} & {
        *ROOMS,
        *APP_ROOMS,
        *map(room_of, map(module_name, MODULES)),
    }
    allowed = UPWARD.get(module_name(path), ())
    assert not [other for other in sorted(rooms) if not may_import(room, other) and other not in allowed]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_private_names_stay_in_their_module(path: Path):
    private = [module for module in read_imports(path) if re.search(r"\._[a-z]\w*$", module, re.IGNORECASE)]
    assert not [name for name in private if name.startswith(("core.", "explorer."))]


def test_rooms_are_small_enough_to_be_seen_at_once():
    modules = [path for path in MODULES if path.name != "__init__.py"]
    sizes = Counter(path.parent for path in modules)
    assert not {str(folder): size for folder, size in sizes.items() if size > MOST_MODULES}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_libraries_of_extras_are_imported_only_where_they_belong(path: Path):
    needed = [name for module in read_imports(path) for name in OWNERS if within(module, name)]
    for name in needed:
        assert any(within(module_name(path), package) for package in OWNERS[name])


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_studies_of_pytorch_networks_need_their_extra(path: Path):
    modules = read_imports(path)
    imported_libraries = [module for module in modules for name in TORCH if within(module, name)]
    assert not imported_libraries or any(within(module_name(path), package) for package in KNOW_TORCH)


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter that runs in the project's root."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return run.stdout


@pytest.mark.parametrize("code", ["import core", "import core; core.separation_index", "import core; core.load_study"])
def test_the_light_names_load_neither_tensorflow_nor_the_app(code: str):
    loaded = run_python(f"{code}\nimport sys\nprint(*sys.modules)").split()
    assert "core" in loaded
    assert not {"tensorflow", "keras", "streamlit", "altair", "torch", "PIL", "dask", "distributed"} & set(loaded)


def test_a_study_loads_words_and_charts_only_when_it_shows_itself():
    study = "study = core.load_study('explorer/demo/digits')"
    show = "import sys; print(*sys.modules)"
    before = run_python(f"import core; {study}; study.layers; repr(study); {show}").split()
    after = run_python(f"import core; {study}; study.plot(); {show}").split()
    assert not [name for name in before if name.startswith("core.report") or name == "altair"]
    assert {"core.report.plots", "altair"} <= set(after)


def test_running_a_study_loads_tensorflow_only_for_a_network_and_dask_only_for_a_cluster():
    code = "import core; core.run_study; core.plan_study; import core.cli, sys; print(*sys.modules)"
    loaded = run_python(code).split()
    assert "core.study.run" in loaded
    assert not {"tensorflow", "dask", "distributed", "fsspec", "altair"} & set(loaded)


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


def test_the_app_has_the_colors_of_the_charts():
    from core.report.charts.theme import CATEGORIES

    theme = tomllib.loads((ROOT / "explorer" / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    assert {ground: theme[ground]["chartCategoricalColors"] for ground in CATEGORIES} == CATEGORIES
