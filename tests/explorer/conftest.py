"""Small made-up studies for the app: written with core, so that they are what core writes; and a browser's page."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.study.store import opening, writing
from core.study.store.locks import lock_file
from tests.browser import DESKTOP, chromium, find_chromium

PAGES = Path(__file__).resolve().parents[2] / "explorer" / "app_pages"
CLASSES = 120
CHANCE = {"train": 9 / 1199, "test": 9 / 1199, "cross": 1 / CLASSES}
EFFICIENTNET_STAGES = {1: (1, 16), 2: (2, 24), 3: (2, 40), 4: (3, 80), 5: (3, 112), 6: (4, 192), 7: (1, 320)}


def efficientnet_layers() -> list[tuple[str, str, int, int]]:
    """Name, kind, channels and spatial size of the layers of a network like EfficientNet-Lite0."""
    layers, size, channels = [("stem_conv", "Conv2D", 32, 112)], 112, 32
    for stage, (repeats, out) in EFFICIENTNET_STAGES.items():
        for repeat in range(repeats):
            block = f"block{stage}{'abcd'[repeat]}"
            wide = channels * (1 if stage == 1 else 6)
            if stage > 1:
                layers.append((f"{block}_expand_conv", "Conv2D", wide, size))
            if repeat == 0 and stage in (2, 3, 4, 6):
                size //= 2
            layers.append((f"{block}_dwconv", "DepthwiseConv2D", wide, size))
            layers.append((f"{block}_project_conv", "Conv2D", out, size))
            if repeat:
                layers.append((f"{block}_add", "Add", out, size))
            channels = out
    head = [("top_conv", "Conv2D", 1280, 7), ("avg_pool", "GlobalAveragePooling2D", 1280, 1)]
    return [*layers, *head, ("predictions", "Dense", 1000, 1)]


def _layer_row(position: int, layer: tuple[str, str, int, int]) -> dict[str, Any]:
    name, kind, channels, size = layer
    return {
        "position": position,
        "layer": name,
        "kind": kind,
        "block": name.split("_")[0],
        "channels": channels,
        "parameters": 0 if kind in ("Add", "GlobalAveragePooling2D") else channels * (9 if "dw" in name else 120),
        "cumulative_parameters": 100 * position,
        "output_shape": [size, size, channels] if size > 1 else [channels],
        "num_features": size * size * channels,
    }


def _measurement_rows(row: dict[str, Any], depth: float, splits: Sequence[str], poolings: Sequence[str]) -> list[dict]:
    """Curves like the measured ones: flat stays low and jumps late, mean rises earlier and higher."""
    rng = np.random.default_rng(row["position"])
    values = {"flat": 0.02 + 0.45 * depth**6, "mean": 0.03 + 0.64 * depth**2.5}
    spatial = row["num_features"] > row["channels"]
    pairs = [("separation", split, 1) for split in splits] + [("knn", split, 5) for split in splits]
    pairs += [("cross", "test", 1)] if {"train", "test"} <= set(splits) else []
    return [
        {
            "split": split,
            "layer": row["layer"],
            "pooling": pooling,
            "metric": "euclidean",
            "measure": measure,
            "order": order,
            "ties": "first",
            "sampling": "full",
            "num_queries": 1200,
            "num_references": 1200,
            "repeat": 0,
            "value": float(
                values[pooling if spatial else "mean"] * {"separation": 1, "knn": 1.08, "cross": 1.05}[measure]
                + (0.01 if split == "train" else 0)
                + rng.normal(0, 0.004)
            ),
            "chance": CHANCE["cross" if measure == "cross" else split],
        }
        for pooling in (poolings if spatial else ["flat"])
        for measure, split, order in pairs
    ]


def _measurements(rows: list[dict]) -> pd.DataFrame:
    frame = pd.DataFrame(rows).reindex(columns=opening.SCHEMAS["measurements"].names)
    return frame.assign(excess=(frame["value"] - frame["chance"]) / (1 - frame["chance"]))


def write_study(
    folder: Path,
    *,
    layers: Sequence[tuple[str, str, int, int]] | None = None,
    splits: Sequence[str] = ("train", "test"),
    poolings: Sequence[str] = ("flat", "mean"),
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
    info: dict[str, Any] | None = None,
) -> Path:
    """Write a study of made-up numbers; `change` edits the measurements before they are written."""
    layers = efficientnet_layers() if layers is None else layers
    folder.mkdir(parents=True, exist_ok=True)
    for position, layer in enumerate(layers, start=1):
        row = _layer_row(position, layer)
        rows = _measurement_rows(row, position / len(layers), splits, poolings)
        tables = {"layers": pd.DataFrame([row]), "measurements": change(_measurements(rows))}
        writing.write_layer(folder, position, tables)
    writing.merge_parts(folder)
    writing.write_info(folder, {"format": opening.FORMAT, "state": "complete", **(info or {})})
    return folder


def judged(frame: pd.DataFrame) -> pd.DataFrame:
    """Intervals and significance as core writes them for SI: values of the first layers are not clear of chance."""
    measured = frame["measure"].isin(["separation", "cross"])
    z = ((frame["value"] - frame["chance"]) / 0.003).where(measured)
    p = (1 / (1 + np.exp(2 * z))).clip(lower=0)
    return frame.assign(
        low=(frame["value"] - 0.02).clip(lower=0).where(measured),
        high=(frame["value"] + 0.02).where(measured),
        target=pd.Series("population", index=frame.index).where(measured),
        z=z,
        p_value=p,
        q_value=p,
    )


def with_sizes(frame: pd.DataFrame, sizes: Sequence[int] = (240, 480, 960), repeats: int = 3) -> pd.DataFrame:
    """Rows of SI over sample size beside the full ones: both sides subsampled, and the queries alone."""
    rng = np.random.default_rng(len(frame))
    full = frame[(frame["measure"] == "separation") & (frame["repeat"] == 0)]
    drawn = [frame]
    for size in sizes:
        for repeat in range(1, repeats + 1):
            common = full.assign(num_queries=size, repeat=repeat, low=np.nan, high=np.nan, target=None)
            scatter = rng.normal(0, 0.01, len(full))
            lower = common["value"] * (size / 1200) ** 0.3
            drawn.append(
                common.assign(sampling="subsample", num_references=size - 1, value=(lower + scatter).clip(0, 1))
            )
            value = (common["value"] + scatter).clip(0, 1)
            interval = {"low": (value - 0.03).clip(0), "high": (value + 0.03).clip(upper=1), "target": "data"}
            drawn.append(common.assign(sampling="queries", value=value, **interval))
    return pd.concat(drawn, ignore_index=True)


def with_centers(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the notebook's protocol: near 1 in sample whatever the labels, near 0 left out on permuted ones."""
    full = frame[(frame["measure"] == "separation") & (frame["repeat"] == 0)]
    unknown = {"low": np.nan, "high": np.nan, "target": None, "z": np.nan, "p_value": np.nan, "q_value": np.nan}
    in_sample = full.assign(measure="center_in_sample", value=0.97, chance=0.95, **unknown)
    left_out = full.assign(measure="center", chance=0.001, **unknown)
    return pd.concat([frame, in_sample, left_out], ignore_index=True)


FULL_INFO = {
    "command": "python -m core study stanford_dogs_224 --out dogs --model efficientnet-lite0 --per-class 10",
    "asked": {"data": "stanford_dogs_224", "model": "efficientnet-lite0", "weights": "imagenet", "per_class": 10},
    "used": {
        "versions": {"python": "3.11.9", "keras": "3.15.0", "tensorflow": "2.21.0"},
        "model": {"name": "efficientnet-lite0", "weights": "imagenet", "weights_sha256": "5d1c" * 16},
        "data": {"name": "stanford_dogs_224", "fingerprint": "0f3a" * 16, "num_samples": 2400, "num_classes": CLASSES},
        "seed": 0,
    },
    "skipped": [],
    "cautions": [
        "The class folders bear ImageNet ids: a network with ImageNet weights has probably been trained on these very "
        "images. Its values say how well they were learned, not how it would do on new images."
    ],
}

TINY_LAYERS = [
    ("stem_conv", "Conv2D", 8, 16),
    ("block1a_dwconv", "DepthwiseConv2D", 8, 16),
    ("block1a_add", "Add", 8, 16),
    ("block2a_conv", "Conv2D", 16, 8),
    ("avg_pool", "GlobalAveragePooling2D", 16, 1),
]


@pytest.fixture(autouse=True)
def _no_page_hides_a_defect(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """A page tells its errors in a sentence and logs them: no test passes over one."""
    yield
    defects = [record for record in caplog.get_records("call") if record.name == "explorer.server.page_errors"]
    assert not defects or "expects_defects" in request.fixturenames, defects[0].exc_text or defects[0].exc_info


@pytest.fixture
def expects_defects() -> None:
    """For a test that makes a page fail."""


@pytest.fixture(scope="session")
def study_writer() -> Callable[..., Path]:
    """`write_study`, for tests that need another study than the tiny one."""
    return write_study


@pytest.fixture
def tiny_study(tmp_path: Path) -> Path:
    """Five layers in three blocks, both splits, both poolings; the last layer has no spatial extent."""
    return write_study(tmp_path / "tiny", layers=TINY_LAYERS, info=FULL_INFO)


@pytest.fixture
def sized_info() -> dict[str, Any]:
    """What makes `write_study` write the tiny study with intervals, significance and SI over sample size."""
    return {"layers": TINY_LAYERS, "info": FULL_INFO, "change": lambda frame: with_sizes(judged(frame))}


@pytest.fixture
def sized_study(tmp_path: Path, sized_info: dict[str, Any]) -> Path:
    """The tiny study with intervals, significance, and SI over three sample sizes, three draws each."""
    return write_study(tmp_path / "sized", **sized_info)


@pytest.fixture
def replication_study(tmp_path: Path) -> Path:
    """The notebook's protocol on the layers that EfficientNet-Lite0 shares with EfficientNet-B0."""
    layers = [layer for layer in efficientnet_layers() if layer[0] not in ("avg_pool", "predictions")]
    return write_study(tmp_path / "replication", layers=layers, poolings=("flat",), info=FULL_INFO, change=with_centers)


@pytest.fixture
def open_view(monkeypatch):
    """Run a page on a study folder, with the given address."""

    def run(view, first="", **query):
        monkeypatch.setenv("SI_EXPLORER_STUDY", str(first))
        page = AppTest.from_file(PAGES / view / "view.py", default_timeout=90)
        for name, value in query.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception, page.exception
        return page

    return run


@pytest.fixture
def another_works() -> Callable[[Path], AbstractContextManager[None]]:
    """As long as its context lasts, it is as if another run of a folder of studies had its turn."""

    @contextmanager
    def hold(studies: Path) -> Iterator[None]:
        studies.mkdir(parents=True, exist_ok=True)
        with (studies / ".turn").open("a+b") as handle:
            lock_file(handle.fileno())
            yield

    return hold


@pytest.fixture
def page():
    """A page of a real Chromium; without one the test does not run, and fails where REQUIRE_SHARED=1."""
    if find_chromium() is None:
        message = "needs chromium on the PATH"
        pytest.fail(message) if os.environ.get("REQUIRE_SHARED") == "1" else pytest.skip(message)
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong
    with chromium() as browser:
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(60_000)
        yield page
