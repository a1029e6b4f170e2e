"""The tabs of the page Compare about related measures: their tables, their charts, and the page itself."""

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.layer_overlap import neighbor_overlap
from explorer.app_pages.compare import related_measures_tables
from explorer.app_pages.compare.related_measures_charts import related_chart, similarity_chart
from explorer.app_pages.compare.related_measures_tables import (
    MEASURES,
    SIMILARITIES,
    best_layers,
    related_columns,
    related_rows,
    related_table,
    similarity_note,
    similarity_rows,
)
from explorer.app_pages.compare.tables import CompareSelection
from explorer.studies.loading import read_study

LAYERS = ["stem_conv", "block1a_add", "top_conv", "avg_pool"]
TEST, CROSS = CompareSelection("flat", "test"), CompareSelection("flat", "cross")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study with related measures, whose classes come apart from layer to layer."""
    labels = np.arange(120) % 3
    centers, rng = np.random.default_rng(9).normal(size=(3, 6))[labels], np.random.default_rng(1)
    path = tmp_path_factory.mktemp("studies") / "with related measures"
    with core.FeatureStudyWriter(
        path, labels, splits=["train", "test"] * 60, related_measures=True, neighbors=4
    ) as writer:
        for place, name in enumerate(LAYERS):
            writer.add_layer(name, 0.4 * (place + 1) * centers + rng.normal(size=(120, 6)))
    return path


@pytest.fixture(scope="module")
def tables(folder):
    return core.load_study(folder)


@pytest.fixture(scope="module")
def rows(folder, tables):
    return related_rows(read_study(folder), tables, TEST)


def test_rows_are_those_of_the_study_with_si(rows, tables):
    assert rows["layer"].unique().tolist() == LAYERS
    assert set(rows["measure"]) == set(MEASURES)
    own = tables.related_measures.query("split == 'test' and measure == 'silhouette'")["value"]
    assert rows.loc[rows["measure"] == "silhouette", "value"].tolist() == own.tolist()
    separation = tables.measurements.query("split == 'test' and measure == 'separation'")["value"]
    assert rows.loc[rows["measure"] == "si", "value"].tolist() == separation.tolist()


def test_test_to_train_shows_the_test_samples(folder, tables, rows):
    pd.testing.assert_frame_equal(related_rows(read_study(folder), tables, CROSS), rows)


def test_the_table_has_a_column_a_measure_with_its_direction(rows):
    table = related_table(rows)
    assert list(table) == ["layer", *MEASURES]
    assert table["layer"].tolist() == LAYERS
    config = related_columns()
    assert set(table) <= set(config)
    for name, column in config.items():
        assert name == "layer" or " is better" in column["help"]


def test_the_best_layers_follow_the_direction_of_each_measure():
    values = {"si": (0.2, 0.9), "silhouette": (0.1, 0.3), "discrimination": (-0.5, -0.1), "fuzziness": (30.0, 2.0)}
    rows = pd.DataFrame(
        [
            {"layer": layer, "measure": name, "value": pair[place]}
            for name, pair in values.items()
            for place, layer in enumerate(("early", "late"))
        ]
    )
    expected = "`late` by SI, Silhouette and Separation fuzziness (D); `early` by Discrimination value (GDV)."
    assert best_layers(rows).startswith(f"Best value of 2 layers: {expected} The difference to other layers need not")


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_likeness_has_all_ordered_pairs_and_the_diagonal(tables, kind):
    found = similarity_rows(tables, TEST, kind)
    wide = found.pivot_table(index="layer", columns="other", values="value", sort=False)
    assert list(wide.index) == list(wide.columns) == LAYERS
    np.testing.assert_allclose(wide, wide.T)
    np.testing.assert_allclose(np.diag(wide), 1)
    note = similarity_note(found, TEST, kind)
    assert "60 test samples" in note
    assert "chance" in note


def test_overlap_is_that_of_stored_neighbors(tables):
    found = similarity_rows(tables, TEST, "overlap")
    expected = neighbor_overlap(tables, split="test")
    assert sorted(found["value"]) == sorted(expected["value"])
    assert "4 nearest neighbors" in similarity_note(found, TEST, "overlap")


def test_many_layers_are_thinned_evenly(tables, monkeypatch):
    monkeypatch.setattr(related_measures_tables, "MAX_LAYERS", 2)
    found = similarity_rows(tables, TEST, "cka")
    assert found["layer"].unique().tolist() == [LAYERS[0], LAYERS[-1]]
    assert len(found) == 4


def test_charts_are_valid_and_hold_no_more_than_they_draw(rows, tables):
    for name, shown in MEASURES.items():
        specification = related_chart(rows, name, "top_conv").to_dict(validate=True)
        scales = [layer["encoding"]["y"]["scale"] for layer in specification["layer"] if "y" in layer["encoding"]]
        assert all((scale.get("type") == "log") == shown.logarithmic for scale in scales)
        columns = {column for data in specification["datasets"].values() for row in data for column in row}
        assert columns <= {"layer", "value", "line", "low", "high", "chance", "value_text", "chance_text"}
    specification = similarity_chart(similarity_rows(tables, TEST, "debiased"), "CKA").to_dict(validate=True)
    cells = next(iter(specification["datasets"].values()))
    assert set(cells[0]) == {"layer", "other", "value", "chance"}
    mark = specification["layer"][0]["mark"]
    assert mark["stroke"] == {"expr": "scale('color', datum.value)"}  # closes the seams between cells


def test_collapsed_layers_have_no_place_on_a_log_axis():
    rows = pd.DataFrame(
        {"layer": ["a", "b"], "measure": "fuzziness", "value": [0.0, 2.0], "low": np.nan, "high": np.nan, "chance": 9.0}
    )
    specification = related_chart(rows, "fuzziness").to_dict(validate=True)
    assert all([row["layer"] for row in data] == ["b"] for data in specification["datasets"].values())


def said(page):
    return " ".join(element.value for element in [*page.header, *page.markdown, *page.caption])


def test_each_has_a_tab(open_view, folder):
    page = open_view("compare", folder, tab="related-measures")
    assert [one.value for one in page.header] == ["Related separability measures"]
    assert "Best value of" in said(page)
    assert list(page.dataframe[-1].value) == ["layer", *MEASURES]
    page = open_view("compare", folder, tab="similarity")
    assert [one.value for one in page.header] == ["Similarity of layers"]
    kinds = next(one for one in page.segmented_control if one.label == "Similarity measure")
    assert "4 nearest neighbors" in said(page)
    kinds.set_value("debiased").run()
    assert not page.exception
    assert "U-statistic" in said(page)


def test_a_study_without_has_what_its_neighbors_say(open_view, tmp_path):
    features = np.random.default_rng(0).normal(size=(40, 3))
    core.study_from_features({"one": features, "two": features[:, :2]}, [0, 1] * 20, out=tmp_path / "plain")
    page = open_view("compare", tmp_path / "plain", tab="related-measures")
    assert "made without `--related-measures`" in page.info[0].value
    page = open_view("compare", tmp_path / "plain", tab="similarity")
    assert not page.info
    assert not any(one.label == "Similarity measure" for one in page.segmented_control)
