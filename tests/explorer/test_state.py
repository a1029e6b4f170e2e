"""The view: what is offered, what is chosen, how the address says it."""

import pytest

from explorer.state.choices import (
    Selection,
    choices,
    default_selection,
    from_query,
    select_curves,
    select_layers,
    to_query,
    unmatched_names,
)
from explorer.studies.loading import read_study


@pytest.fixture
def tiny(tiny_study):
    return read_study(tiny_study)


@pytest.fixture
def offered(tiny):
    return choices(tiny.layers, tiny.curves)


def test_what_a_study_offers(offered):
    assert offered.poolings == ("mean", "flat", "both")
    assert offered.samples == ("test", "train", "cross")
    assert offered.kinds == ("Conv2D", "DepthwiseConv2D", "Add", "GlobalAveragePooling2D")
    assert offered.blocks == ("stem", "block1a", "block2a", "avg")


@pytest.mark.parametrize("pooling", ["mean", "flat"])
def test_one_pooling_is_offered_alone_though_a_head_is_always_flat(tmp_path, study_writer, pooling):
    layers = [("a_conv", "Conv2D", 4, 2), ("head", "Dense", 4, 1)]
    study = read_study(study_writer(tmp_path / "one", layers=layers, poolings=[pooling]))
    assert choices(study.layers, study.curves).poolings == (pooling,)


def test_the_default_view(offered):
    assert default_selection(offered) == Selection("mean", ("test", "train"), knn=True)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, ["stem_conv", "block1a_dwconv", "block1a_add", "block2a_conv", "avg_pool"]),
        ({"kinds": ("Conv2D",)}, ["stem_conv", "block2a_conv"]),
        ({"kinds": ("Conv2D", "Add"), "blocks": ("block1a",)}, ["block1a_add"]),
        ({"names": ("*conv", "avg_pool")}, ["stem_conv", "block1a_dwconv", "block2a_conv", "avg_pool"]),
        ({"kinds": ("Add",), "names": ("stem*",)}, []),
    ],
)
def test_kinds_blocks_and_names_narrow_down_together(tiny, selection, expected):
    chosen = Selection("mean", ("test",), **selection)
    assert select_layers(tiny.layers, chosen)["layer"].to_list() == expected


def test_curves_of_the_selection_in_the_order_of_the_lines(tiny):
    curves = select_curves(tiny.curves, tiny.layers[:2], Selection("flat", ("train", "test"), knn=True))
    lines = curves[["measure", "samples"]].drop_duplicates().apply(tuple, axis=1).to_list()
    assert lines == [("SI", "test"), ("SI", "train"), ("kNN", "test"), ("kNN", "train")]
    assert set(curves["layer"]) == {"stem_conv", "block1a_dwconv"}
    assert set(curves["pooling"]) == {"flat"}


def test_without_the_baseline_there_is_si_only(tiny):
    assert set(select_curves(tiny.curves, tiny.layers, Selection("mean", ("test",)))["measure"]) == {"SI"}


def test_with_both_poolings_a_layer_without_space_is_drawn_once(tiny):
    curves = select_curves(tiny.curves, tiny.layers, Selection("both", ("test",)))
    assert curves.loc[curves["layer"] == "avg_pool", "pooling"].to_list() == ["mean"]
    assert curves.loc[curves["layer"] == "stem_conv", "pooling"].to_list() == ["mean", "flat"]


@pytest.mark.parametrize(
    "selection",
    [
        Selection("mean", ("test", "train"), knn=True),
        Selection("both", ("cross",), knn=False),
        Selection("flat", ("test", "cross"), True, ("Add", "Conv2D"), ("stem",), ("*_add", "avg_pool"), "significance"),
    ],
)
def test_an_address_restores_the_view(offered, selection):
    restored = from_query(to_query(selection, offered), offered)
    assert set(restored.kinds) == set(selection.kinds)
    assert (restored.pooling, restored.samples, restored.knn) == (selection.pooling, selection.samples, selection.knn)
    assert (restored.blocks, restored.names) == (selection.blocks, selection.names)
    assert restored.columns == selection.columns


def test_the_default_view_needs_no_words(offered):
    assert to_query(default_selection(offered), offered) == {}


def test_what_the_study_does_not_offer_is_ignored(offered):
    query = {
        "pooling": ["max"],
        "samples": ["validation"],
        "kinds": ["Add", "Dense"],
        "knn": ["perhaps"],
        "layers": ["*_sum"],
    }
    assert from_query(query, offered) == Selection("mean", ("test", "train"), knn=True, kinds=("Add",))


def test_names_without_a_layer():
    assert unmatched_names(["a_conv", "b_add"], ["*_add", "c*", "a_conv", "B_ADD"]) == ("c*", "B_ADD")
