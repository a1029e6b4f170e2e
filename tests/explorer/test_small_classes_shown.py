"""That classes too small for votes are named wherever votes of neighbors are shown."""

import numpy as np

import core
from core.report.content import make_report
from core.report.words.small_classes import small_classes_text


def test_report_and_pages_say_it(open_view, tmp_path):
    """Classes of 20, 20 and 3 samples, far apart: no neighbor search could separate them better."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], [20, 20, 3])
    layers = {name: 90 * np.eye(3)[labels] + rng.normal(size=(43, 3)) for name in ("first", "second")}
    study = core.study_from_features(layers, labels, out=tmp_path / "small")
    of_five, of_ten = (small_classes_text(study.samples, "train", k) for k in (5, 10))
    assert of_five.startswith("1 of 3 classes, with 3 of 43 ")
    report = make_report(tmp_path / "small")
    assert of_five in report.sections[0].charts[0].note
    assert any(of_ten in text for text in report.findings)
    for view in ("layers", "compare"):
        page = open_view(view, tmp_path / "small")
        assert not page.exception
        assert any(f"kNN baseline: {of_five}" in caption.value for caption in page.caption)
    samples_page = open_view("samples", tmp_path / "small", tab="data-quality")
    assert any(of_ten in caption.value for caption in samples_page.caption)
