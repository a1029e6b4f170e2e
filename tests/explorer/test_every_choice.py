"""Every page of the bundled studies, with one control after the other moved: none of them may fail."""

from pathlib import Path

import pytest

import core

DEMO = Path(__file__).resolve().parents[2] / "explorer" / "demo"
VIEWS = ("layers", "classes", "samples", "sample_size", "decide", "compare", "training", "method")
DEFECT = "This page cannot be shown"

pytestmark = pytest.mark.slow


def other_choice(control) -> object | None:
    """An option of a control that is not chosen: the last one, or the first; None where there is none."""
    return next((option for option in (*control.options[-1:], *control.options[:1]) if option != control.value), None)


def controls_of(page) -> list[object]:
    return [*page.selectbox, *page.radio, *page.button_group]


def check(page, what: str) -> None:
    assert not page.exception, f"{what}: {page.exception[0].value}"
    defects = [error.value for error in page.error if DEFECT in error.value]
    assert not defects, f"{what}: {defects}"


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("study", ["dogs-tuned", "digits-training"])
def test_no_choice_makes_a_page_fail(open_view, study, view):
    page = open_view(view, DEMO / study)
    check(page, "as opened")
    for number in range(len(controls_of(page))):
        if number >= len(controls_of(page)):
            break  # a choice before has taken controls away
        control = controls_of(page)[number]
        option = other_choice(control)
        if option is not None:
            check(control.set_value(option).run(), f"{control.label or control.key} = {option!r}")


@pytest.mark.parametrize("study", ["dogs-tuned", "dogs-b0-untrained"])
def test_a_confused_pair_at_a_layer_without_stored_neighbors(open_view, study):
    loaded = core.load_study(DEMO / study)
    layer = next(layer for layer in loaded.layers["layer"] if layer not in set(loaded.neighbors["layer"]))
    names = loaded.samples.set_index("sample")["class_name"]
    within_test = loaded.neighbors.query("split == 'test' and nearest_split == 'test' and rank == 1 and not same_label")
    pair = [names[within_test.iloc[-1][end]] for end in ("sample", "nearest")]
    page = open_view("classes", DEMO / study, layer=layer, pair=pair)
    check(page, layer)
    assert f"stores no neighbors of `{layer}`" in " ".join(info.value for info in page.info)
