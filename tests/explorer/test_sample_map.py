"""The map of the samples: what is sent to the browser, what the page does with what comes back."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import core
from core.study.from_features.writer import StudyDescription
from explorer.app_pages.samples import map_view
from explorer.studies import map_points
from explorer.studies.loading import DEMO
from explorer.studies.map_points import (
    EDGE,
    LARGEST,
    MISSING,
    aligned_plane,
    cached_map_planes,
    choose_drawn,
    crowded_share,
    extra_frame,
    map_bytes,
    map_planes,
    packed,
    quantized,
    sample_bits,
    unit_square,
)
from explorer.studies.pictures import Pictures, picture_atlas
from explorer.studies.sample_paths import SamplePaths

SQUARE = np.float32([[1, 1], [-1, 1], [-1, -1], [1, -1]])


def unpack(message: bytes) -> dict:
    """What the browser makes of a message."""
    length = int.from_bytes(message[:4], "little")
    content = json.loads(message[4 : 4 + length])
    offset = 4 + length
    for name, (kind, size) in content.pop("arrays").items():
        content[name] = np.frombuffer(message, np.dtype(kind).newbyteorder("<"), size, offset)
        offset += -(-content[name].nbytes // 4) * 4
    assert offset == len(message)
    return content


def test_planes_are_turned_onto_the_one_before_and_have_one_size():
    turned = 100 * SQUARE[:, ::-1] * [1, -1] + 7
    first = aligned_plane(SQUARE, None)
    second = aligned_plane(np.float32(turned), first)
    np.testing.assert_allclose(unit_square(first), SQUARE, atol=1e-6)
    np.testing.assert_allclose(unit_square(second), SQUARE, atol=1e-6)
    assert (unit_square(aligned_plane(SQUARE * 0, second)) == 0).all()


def test_samples_on_nearly_one_spot_are_counted():
    corners, spot = SQUARE, np.float32([[0, 0], [0, 0.01], [0.01, 0], [np.nan, 0]])  # one has no place
    table = pd.DataFrame(np.concatenate([corners, spot, 0 * spot]), columns=["x", "y"])
    table = table.assign(layer="a", sample=np.arange(12))
    planes = map_planes([table], ["a"], np.arange(12))
    assert crowded_share(planes, "a") == pytest.approx(6 / 10)  # 3 of the spot and 3 more at its middle
    nothing = map_planes([table.assign(x=np.nan)], ["a"], np.arange(12))
    assert crowded_share(nothing, "a") == 0


@pytest.mark.parametrize(("layer", "said"), [("predictions", True), ("avg_pool", False)])
def test_a_map_that_shows_little_says_so(open_view, layer, said):
    page = open_view("samples", DEMO / "dogs-tuned", layer=layer)
    (caption,) = [one.value for one in page.caption if map_view.LIMITS in one.value]
    assert ("89% of the samples lie on nearly one spot here" in caption) == said
    assert ("`--projection tsne`" in caption) == said


@pytest.mark.parametrize(("model", "remedy"), [(None, ""), ("net", ' Make the study with `projection="tsne"`')])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_only_what_can_be_done_helps_where_a_map_shows_little(open_view, tmp_path, model, remedy, num_layers):
    rows = np.eye(12) * 1e-6
    rows[0] = 1
    made_with = StudyDescription(used={"model": {"name": model}} if model else {})
    with core.FeatureStudyWriter(tmp_path / "spot", np.arange(12) % 2, description=made_with) as writer:
        for number in range(num_layers):
            writer.add_layer(f"layer{number}", rows)
    (caption,) = [one.value for one in open_view("samples", tmp_path / "spot").caption if map_view.LIMITS in one.value]
    end = remedy.replace(" Make", " Choose another layer, or make") if num_layers > 1 else remedy
    end = end or (" Choose another layer." if num_layers > 1 else " Two principal components")
    assert f"this map does not show what tells them apart.{end}" in caption


def test_coordinates_are_whole_numbers_at_the_edge_at_most_and_gaps_have_their_own():
    points = np.float32([[0, EDGE], [-EDGE, 99], [np.nan, 0]])
    assert quantized(points).tolist() == [[LARGEST / 2, LARGEST], [0, LARGEST], [MISSING, MISSING]]


@pytest.mark.parametrize(
    ("num_layers", "num_samples", "drawn_layers", "drawn_samples"),
    [(60, 2400, 60, 2400), (200, 20_000, 72, 20_000), (200, 1_000_000, 40, 36_363), (1, 5, 1, 5), (0, 5, 0, 5)],
)
def test_a_budget_leaves_out_layers_then_samples(num_layers, num_samples, drawn_layers, drawn_samples):
    layers, samples = choose_drawn(num_layers, num_samples)
    assert (len(layers), len(samples)) == (drawn_layers, drawn_samples)
    for drawn, total in ((layers, num_layers), (samples, num_samples)):
        assert len(drawn) == 0 or (drawn[0], drawn[-1]) == (0, total - 1)


def test_a_message_is_read_as_it_was_written():
    arrays = {"odd": np.uint8([1, 2, 3]), "wide": np.uint32([7, 2**31]), "flat": np.uint16([[1, 2], [3, 4]])}
    content = unpack(packed({"ids": ["ä", "b"]}, arrays))
    assert content["ids"] == ["ä", "b"]
    assert [content[name].tolist() for name in arrays] == [[1, 2, 3], [7, 2**31], [1, 2, 3, 4]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes on a line that come apart at the second of three layers; the last two are test samples."""
    out = tmp_path_factory.mktemp("map") / "study"
    layers = {
        "early": np.array([[0.0], [4], [1], [5], [2], [3]]),
        "late": np.array([[0.0], [1], [8], [9], [7.5], [7]]),
        "last": np.array([[0.0], [1.5], [8], [9], [7.5], [7]]),
    }
    splits = ["train", "train", "train", "train", "test", "test"]
    core.study_from_features(layers, ["ant", "ant", "bee", "bee", "bee", "bee"], out=out, splits=splits)
    return out


def test_what_is_sent_says_class_split_and_agreement(folder):
    study = core.load_study(folder)
    planes = map_planes([study.projection], list(study.layers["layer"]), np.arange(6))
    content = unpack(map_bytes(planes, SamplePaths(str(folder), (0,), "flat", "train", "train"), "token"))
    assert (content["token"], content["layers"]) == ("token", ["early", "late", "last"])
    assert [content["class_names"][code] for code in content["classes"]] == ["ant", "ant", "bee", "bee", "bee", "bee"]
    assert content["is_query"].tolist() == [1, 1, 1, 1, 0, 0]
    assert content["is_test"].tolist() == [0, 0, 0, 0, 1, 1]
    assert content["agrees"].tolist() == [0b0000, 0b1111, 0b1111]
    positions = content["positions"].reshape(3, 6, 2)
    assert (
        positions[1, :2, 0].max() < positions[1, 2:, 0].min() or positions[1, :2, 0].min() > positions[1, 2:, 0].max()
    )


def test_a_chosen_layer_that_is_not_sent_comes_by_itself(folder, monkeypatch):
    monkeypatch.setattr(map_points, "FEWEST_LAYERS", 2)
    monkeypatch.setattr(map_points, "BUDGET_BYTES", 2 * 6 * 4.125)
    study = core.load_study(folder)
    planes = map_planes([study.projection], list(study.layers["layer"]), np.arange(6))
    assert planes.drawn_layers.tolist() == [0, 2]
    paths = SamplePaths(str(folder), (0,), "flat", "train", "train")
    frame = extra_frame(planes, paths, "late")
    assert (frame.place, frame.agrees) == (1, bytes([0b1111]))
    np.testing.assert_array_equal(np.frombuffer(frame.positions, "<u2"), planes.coordinates[1].ravel())
    assert extra_frame(planes, paths, "last") is None
    assert extra_frame(planes, paths, "elsewhere") is None
    assert sample_bits(planes, np.array([0, 3])) == bytes([0b1001])


def test_samples_that_a_table_lacks_are_gaps():
    table = pd.DataFrame({"layer": ["b", "b"], "sample": [0, 2], "x": [0.0, 1], "y": [0.0, 1]})
    planes = map_planes([table], ["b"], np.arange(3))
    assert (planes.coordinates[0, 1] == MISSING).all()
    assert (planes.coordinates[0, [0, 2]] != MISSING).all()


@pytest.mark.parametrize("name", ["dogs", "digits"])
def test_layers_read_one_by_one_lie_as_all_at_once(name, monkeypatch):
    """All planes normalized, aligned and scaled at once, as plain formulas say."""
    study = core.load_study(DEMO / name)
    layers = tuple(study.layers["layer"])
    monkeypatch.setattr(core.Study, "layer_groups", lambda study, table: [[layer] for layer in layers])
    planes = cached_map_planes.__wrapped__(str(study.path), (0,), layers)
    monkeypatch.undo()
    assert planes.layers == tuple(layer for layer in layers if layer in set(study.projection["layer"]))
    previous = None
    for layer, found in zip(planes.layers, planes.coordinates, strict=True):
        rows = study.projection[study.projection["layer"] == layer].set_index("sample").reindex(planes.drawn_samples)
        points = rows[["x", "y"]].to_numpy(np.float64)
        known = np.isfinite(points).all(axis=1)
        points = points - rows[["x", "y"]].to_numpy()[known].mean(axis=0, dtype=np.float64)
        points /= np.abs(points[known]).max()
        points /= np.sqrt((points[known] ** 2).sum(axis=1).mean())
        if previous is not None:
            both = known & np.isfinite(previous).all(axis=1)
            left, _, right = np.linalg.svd(points[both].T @ previous[both])
            points = points @ (left @ right)
        previous = points
        scaled = np.float32(points / np.quantile(np.abs(points[known]).max(axis=1), map_points.QUANTILE))
        expected = ((scaled / EDGE).clip(-1, 1) / 2 + 0.5) * LARGEST
        np.testing.assert_array_equal(found[known], expected[known].round().astype(np.uint16))
        assert (found[~known] == MISSING).all()


def test_ten_of_many_classes_are_colored(folder):
    codes = np.repeat(np.arange(12), 2)
    agrees = codes % 6 != 0
    colored = map_points._colored(np.array([str(code) for code in range(12)]), codes, agrees, np.ones(24, bool))
    assert colored == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]


def test_an_atlas_has_pictures_row_by_row_and_says_which_are_missing():
    address, missing = picture_atlas(Pictures(digits=True), ["digits/0", "digits/99999", "digits/2"], 16)
    assert address.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        assert image.size == (16, 48)
    assert missing == [1]


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        ("picked", "3"),
        ("picked", True),
        ("picked", 99),
        ("picked", [0]),
        ("layer", "elsewhere"),
        ("layer", {}),
        ("lasso", 7),
        ("lasso", [99, "0", None, [1]]),
        ("lasso", []),
    ],
)
def test_what_a_browser_forges_changes_nothing(folder, open_view, monkeypatch, event, sent):
    page = open_view("samples", folder)
    before = dict(page.query_params)
    monkeypatch.setattr(map_view, "_sent", lambda key, name: sent if name == event else None)
    monkeypatch.setattr(map_view, "_map", lambda **options: options[f"on_{event}_change"]())
    page.run()
    page.run()
    assert not page.exception
    assert dict(page.query_params) == before
    assert not [one for one in page.button if "from the map" in one.label]


def test_a_lasso_filters_the_gallery_until_it_is_removed(folder, open_view, monkeypatch):
    page = open_view("samples", folder, samples="train")
    events = iter([[1, 2, 4]])
    monkeypatch.setattr(map_view, "_sent", lambda key, name: next(events, None) if name == "lasso" else None)
    monkeypatch.setattr(map_view, "_map", lambda **options: options["on_lasso_change"]())
    page.run()
    page.run()
    button = next(one for one in page.button if "from the map" in one.label)
    assert button.label == "3 samples from the map"
    assert "2 of 4 samples" in " ".join(one.value for one in page.header)  # the third is no training sample
    button.click().run()
    assert "4 of 4 samples" in " ".join(one.value for one in page.header)


@pytest.mark.parametrize(
    ("num_samples", "sentence"), [(4, map_view.FEW), (6, map_view.EMBEDDING.format(features="activations"))]
)
def test_the_page_says_how_the_map_is_made(open_view, tmp_path, num_samples, sentence):
    labels = ["ant", "bee"] * (num_samples // 2)
    with core.FeatureStudyWriter(tmp_path / "study", labels, projection="tsne") as writer:
        writer.add_layer("head", np.random.default_rng(0).normal(size=(num_samples, 3)))
    page = open_view("samples", tmp_path / "study")
    assert sentence in " ".join(one.value for one in page.caption)


def test_the_page_says_of_what_the_map_is_made_and_why_there_is_none(open_view, tmp_path):
    page = open_view("samples", DEMO / "digits", layer="top_conv")
    assert map_view.EMBEDDING.format(features="channel means") in " ".join(one.value for one in page.caption)
    labels, features = ["ant", "bee"] * 4, np.random.default_rng(0).normal(size=(8, 3))
    with core.FeatureStudyWriter(tmp_path / "without", labels, projection="none") as writer:
        writer.add_layer("head", features)
    assert (
        map_view.WITHOUT.format(option='`projection="none"`')
        in open_view("samples", tmp_path / "without").info[0].value
    )
    assert map_view.OLDER in open_view("samples", DEMO / "notebook").info[0].value
