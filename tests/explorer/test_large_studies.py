"""Pages on studies of many classes and of many layers, made as a user makes them."""

import numpy as np
import pandas as pd
import pytest

import core

CLASSES, LAYERS = 1000, 200


@pytest.fixture(scope="module")
def many_classes(tmp_path_factory):
    """A thousand classes of two samples each, at one layer that tells about half of them apart."""
    labels = np.repeat(np.arange(CLASSES), 2)
    noise = np.random.default_rng(0).normal(0, 0.5, len(labels))
    out = tmp_path_factory.mktemp("many") / "classes"
    core.study_from_features({"late": (labels + noise)[:, None]}, labels, out=out)
    return out


@pytest.fixture(scope="module")
def many_layers(tmp_path_factory):
    """One layer measured, and its rows written two hundred times: measuring them all would take ten seconds."""
    features, labels = np.random.default_rng(0).normal(size=(12, 1)), np.repeat([0, 1], 6)
    out = tmp_path_factory.mktemp("many") / "layers"
    study = core.study_from_features({"layer": features}, labels, out=out)
    for name in ("layers", "measurements", "classes", "neighbors", "projection"):
        frame = getattr(study, name)
        copies = [frame.assign(layer=f"layer{at:03d}") for at in range(LAYERS)]
        if name == "layers":
            copies = [frame.assign(position=at) for at, frame in enumerate(copies)]
        pd.concat(copies).to_parquet(out / f"{name}.parquet", index=False)
    return out


def test_a_thousand_classes_are_shown_page_by_page(open_view, many_classes):
    page = open_view("classes", many_classes, tab="every")
    assert "the lowest SI of 1,000 classes" in " ".join(one.value for one in page.markdown)
    parts = next(one for one in page.selectbox if "1,000 in total" in one.label)
    assert (len(parts.options), parts.options[0], parts.options[-1]) == (34, "1–30", "991–1000")
    parts.select("991–1000").run()
    assert not page.exception
    assert "991–1000" in page.query_params["page"]
    assert any("Classes 991–1000 of 1,000 are shown." in one.value for one in page.caption)


def test_two_hundred_layers_are_drawn_and_listed(open_view, many_layers):
    page = open_view("layers", many_layers, table="open")
    assert not page.error
    assert len(page.dataframe[0].value) == LAYERS
    chart = page.get("vega_lite_chart")[0].proto
    assert "layer199" in str(chart)
