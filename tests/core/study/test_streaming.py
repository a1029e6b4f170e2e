"""Studies of layers that do not fit the memory: in slices or in files, with the same tables, byte by byte."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import core
from core.data.scratch_arrays import ScratchArrays
from core.study.costs import FORWARD_SHARE, pass_cost
from core.study.measuring.unusable import CONSTANT
from core.study.plan import Plan, Progress, StudyOptions, plan_study
from core.study.run import run_study
from core.study.store.opening import SCHEMAS

# Keras's own model.save copies variables in a way that NumPy 2 deprecates.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

MIB = 1 << 20
BUDGETS = {"whole": 1 << 10, "passes": 11, "slices": 6.5, "narrow slices": 4}


def save_images(root: Path, size: int = 112, count: int = 10) -> Path:
    """train/ and test/ of coloured noise in two classes; in each class and split two images are the same."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for channel, name in enumerate(("blue", "green")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 200, (size, size, 3), dtype=np.uint8)
                pixels[..., channel] += rng.integers(0, 12, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
            (folder / "3.png").write_bytes((folder / "1.png").read_bytes())
    return root


def save_network(path: Path, filters: int = 4) -> str:
    """Layers of 50,176 numbers an image, one of them constant, then one of 18,816, and two small ones."""
    layers = keras.layers

    def conv(filters: int, name: str, kernel: keras.initializers.Initializer | None = None) -> keras.layers.Layer:
        kernel = kernel or keras.initializers.GlorotUniform(seed=len(name))
        return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name, kernel_initializer=kernel)

    image = keras.Input((112, 112, 3), name="image")
    stem = conv(filters, "stem_conv")(layers.Rescaling(1 / 255, name="rescaling")(image))
    constant = conv(filters, "block1a_conv", keras.initializers.Zeros())(stem)
    added = layers.Add(name="block1a_add")([stem, constant])
    top = conv(6, "top_conv")(layers.MaxPooling2D(name="pool")(added))
    pooled = layers.GlobalAveragePooling2D(name="avg_pool")(top)
    head = layers.Dense(3, name="predictions", kernel_initializer=keras.initializers.GlorotUniform(seed=7))
    keras.Model(image, head(pooled)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> StudyOptions:
    folder = tmp_path_factory.mktemp("streaming")
    data, network = save_images(folder / "tints"), save_network(folder / "small.keras")
    layers = "main,avg_pool,predictions"
    return StudyOptions(str(data), None, network, layers, pooling="both", neighbors=4, batch_size=16)


ASKED = {
    "subsamples": {"sizes": (6, 9, 12), "repeats": 2},
    "centers": {"protocol": "notebook"},
    "pilot": {"precision": 0.2, "pilot": 5},
}


@pytest.fixture(scope="module", params=ASKED)
def whole(request: pytest.FixtureRequest, options: StudyOptions, tmp_path_factory: pytest.TempPathFactory):
    """Studies in one pass, with different things asked."""
    asked = replace(options, **ASKED[request.param])
    return run_study(plan(asked, "whole"), tmp_path_factory.mktemp("studies") / "whole"), asked


def plan(options: StudyOptions, budget: str, spool: Path | None = None) -> Plan:
    return plan_study(options, memory=int(BUDGETS[budget] * MIB), spool=spool)


def runs(plan: Plan) -> list[int]:
    return [pass_.num_runs for pass_ in plan.passes()]


def assert_same_tables(study: core.Study, other: core.Study) -> None:
    files = sorted(path.name for path in study.path.glob("*.parquet"))
    assert files == sorted(path.name for path in other.path.glob("*.parquet"))
    assert (
        {"measurements.parquet", "neighbors.parquet", "classes.parquet"}
        <= set(files)
        <= {f"{name}.parquet" for name in SCHEMAS}
    )
    assert [name for name in files if (study.path / name).read_bytes() != (other.path / name).read_bytes()] == []


def test_the_budgets_make_one_three_and_more_runs(options: StudyOptions):
    assert runs(plan(options, "whole")) == [1]
    assert runs(plan(options, "passes")) == [1, 1, 1]
    assert runs(plan(options, "slices")) == [3, 3, 3, 1]
    assert runs(plan(options, "narrow slices")) == [7, 7, 7, 1]
    assert runs(plan(options, "narrow slices", Path("unused"))) == [1, 1, 1, 1]


@pytest.mark.parametrize("budget", ["passes", "narrow slices"])
def test_tables_do_not_depend_on_the_memory(whole: tuple[core.Study, StudyOptions], tmp_path: Path, budget: str):
    study, options = whole
    assert_same_tables(run_study(plan(options, budget), tmp_path / "study"), study)


def test_duplicates_and_constants_without_a_shortlist(
    whole: tuple[core.Study, StudyOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All queries that have more candidates than neighbors are treated as crowded."""
    monkeypatch.setattr("core.search.sliced.CROWDED", 0)
    study, options = whole
    stages: list[str] = []
    found = run_study(plan(options, "slices"), tmp_path / "study", progress=lambda p: stages.append(p.stage))
    assert_same_tables(found, study)
    assert found.neighbors.query("layer == 'block1a_conv' and pooling == 'flat'").empty  # the same for all samples
    assert found.layers.set_index("layer")["note"]["block1a_conv"].endswith(CONSTANT)


def recorded_files(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the matrices in files, as they are made."""
    shapes: list[tuple[int, ...]] = []
    make = ScratchArrays.new

    def new(files: ScratchArrays, shape: tuple[int, ...]) -> np.ndarray:
        shapes.append(shape)
        return make(files, shape)

    monkeypatch.setattr(ScratchArrays, "new", new)
    return shapes


def test_files_instead_of_slices(
    whole: tuple[core.Study, StudyOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study, options = whole
    spool = tmp_path / "spool"
    shapes = recorded_files(monkeypatch)
    found = run_study(plan(options, "narrow slices", spool), tmp_path / "study")
    assert_same_tables(found, study)
    assert (40, 50176) in shapes
    assert list(spool.iterdir()) == []


def test_files_are_gone_after_an_interrupt(options: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shapes = recorded_files(monkeypatch)

    def report(progress: Progress) -> None:
        if progress.done > 20 and shapes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan(options, "narrow slices", tmp_path / "spool"), tmp_path / "study", progress=report)
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("whole", ["subsamples"], indirect=True)
def test_an_interrupted_slice_is_computed_again(whole: tuple[core.Study, StudyOptions], tmp_path: Path):
    study, options = whole

    def report(progress: Progress) -> None:
        if progress.stage == "pass 3 of 4, activations, run 2 of 3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan(options, "slices"), tmp_path / "study", progress=report)
    assert core.load_study(tmp_path / "study").layers["layer"].tolist() == ["stem_conv", "block1a_conv"]
    assert_same_tables(run_study(plan(options, "passes"), tmp_path / "study"), study)


def test_the_cost_of_slices(options: StudyOptions):
    """stem_conv: 112 positions high and wide, 3 · 3 · 3 · 4 weights and 4 biases, two operations each."""
    first = plan(replace(options, pooling="flat"), "narrow slices")
    cost = pass_cost(first, first.passes()[0])
    assert cost.forward_flop == 7 * 40 * 2 * 112 * 112 * (108 + 4)
    assert cost.search_flop == 40**2 * 50176
    assert cost.seconds(1e9) == pytest.approx(cost.forward_flop / (FORWARD_SHARE * 1e9) + cost.search_flop / 1e9)


def test_too_little_for_a_slice_names_the_need_and_the_ways_out(options: StudyOptions):
    with pytest.raises(ValueError, match=r"stem_conv needs 7\.657 MiB for 40 samples, or 3\.2\d+ MiB slice") as error:
        plan_study(options, memory=3 * MIB)
    for way in ("raise --memory", "--spool (7.657 MiB)", "--pooling mean (640 bytes)", "--per-class"):
        assert way in str(error.value)


def test_a_full_disk_is_refused_before_the_start(
    options: StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(ValueError, match=r"spool must be a folder with 8,028,800 bytes to spare .* got 1,000"):
        plan(options, "narrow slices", tmp_path)


MEASURE_PEAK = """
import resource, sys
from core.study.costs import FORWARD_SHARE, pass_cost
from core.study.plan import StudyOptions, plan_study
from core.study.run import run_study
options = StudyOptions(sys.argv[1], None, sys.argv[2], "avg_pool,predictions", "flat", batch_size=8)
run_study(plan_study(options), sys.argv[3] + "/warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
options = StudyOptions(sys.argv[1], None, sys.argv[2], "stem_conv", "flat", batch_size=8)
plan = plan_study(options, memory=96 << 20)
assert plan.passes()[0].num_runs == 7, plan.passes()
run_study(plan, sys.argv[3] + "/study")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in KiB on Linux only")
def test_peak_memory_stays_near_the_budget(tmp_path: Path):
    """A layer of 306 MiB with a budget of 96 MiB, above a run that only holds the last layers."""
    data, network = save_images(tmp_path / "tints", count=50), save_network(tmp_path / "wide.keras", filters=32)
    command = [sys.executable, "-c", MEASURE_PEAK, str(data), network, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(core.__file__).parents[1], check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert int(run.stdout) / 1024 < 96 + 64
