"""The notebook's curve, its replication and the permuted control."""

import numpy as np
import pandas as pd
import pytest

from explorer.app_pages.method.notebook import (
    REPORTED,
    SERIES,
    notebook_curves,
    read_replication,
    read_reported,
    replication_finding,
)
from explorer.app_pages.method.notebook_chart import notebook_chart


@pytest.mark.shared
def test_the_bundled_figures_are_those_of_the_reference(shared_dir):
    theirs = pd.read_csv(shared_dir / "reference" / "notebook_si.csv")
    assert read_reported()["layer"].to_list() == theirs["layer"].to_list()
    assert np.array_equal(read_reported()[["train", "test"]], theirs[["si_train", "si_test"]])


def test_the_bundled_figures_name_their_source():
    text = REPORTED.read_text(encoding="utf-8")
    assert text.startswith("# Values printed by the original notebook")
    assert "noisy-student" in text
    assert len(read_reported()) == 74


def test_without_a_replication_there_is_the_reported_curve_alone(tmp_path):
    assert read_replication(tmp_path) is None
    curves = notebook_curves(read_reported(), None, "train")
    assert curves["series"].unique().tolist() == ["reported"]
    assert curves["value"].iloc[0] == 0.338


def test_curves_are_aligned_by_name_with_gaps_where_a_layer_is_missing(replication_study):
    replication = read_replication(replication_study)
    curves = notebook_curves(read_reported(), replication, "test")
    assert curves["series"].unique().tolist() == list(SERIES)
    wide = curves.pivot_table(index="layer", columns="series", values="value", sort=False, dropna=False)
    assert len(wide) == 74
    missing = wide.index[wide["replication"].isna()]
    assert len(missing) == 16
    assert missing.str.endswith("_se_excite").all()
    present = wide.dropna()
    assert present["replication"].unique() == pytest.approx(0.97)
    assert present["permuted labels"].unique() == pytest.approx(0.95)
    rows = replication.measurements
    si = rows[(rows["measure"] == "separation") & (rows["split"] == "test")].set_index("layer")["value"]
    assert present["first-order SI"]["top_conv"] == pytest.approx(si["top_conv"])


def test_the_finding_says_the_control_in_numbers(replication_study):
    said = replication_finding(read_replication(replication_study), "test")
    assert "scores **0.97** on average over 58 layers with the true labels, and **0.95** with labels" in said
    assert "permuted labels score 0.001 on average; guessing one of 120 classes would score 0.0083." in said


def test_a_study_of_another_protocol_adds_no_center_curves(tiny_study):
    study = read_replication(tiny_study)
    assert replication_finding(study, "test") == ""
    assert "replication" not in set(notebook_curves(read_reported(), study, "test")["series"])


def test_the_chart_breaks_lines_at_gaps_and_tells_series_apart_without_color(replication_study):
    curves = notebook_curves(read_reported(), read_replication(replication_study), "test")
    spec = notebook_chart(curves).to_dict()
    line, point, *_ = spec["layer"]
    (rows,) = [rows for rows in spec["datasets"].values() if "series" in rows[0] and len(rows) == 5 * 74]
    assert sum(entry["value"] is None for entry in rows) == 4 * 16
    assert line["encoding"]["x"]["scale"]["domain"] == read_reported()["layer"].to_list()
    assert len(set(point["encoding"]["shape"]["scale"]["range"])) == len(SERIES)
