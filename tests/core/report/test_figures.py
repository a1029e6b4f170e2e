"""Figures for papers: nothing is clipped, fonts are embedded, and captions say what the tables say."""

import io
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import core
from core.analysis.separation_level import best_layer
from core.cli import main
from core.report.charts.blocks import block_axis
from core.report.charts.frame import Size
from core.report.figures import WIDTHS_MM, make_figures, marked_layers, rendered
from core.report.lead_values import chosen_lead
from core.report.plots import properties_of
from core.report.svg_text import text_width
from core.report.words.figure_captions import plain_text
from tests.browser import chromium

DEMO = Path(__file__).resolve().parents[3] / "explorer" / "demo"
NAMES = ["layers", "si", "depth", "parameters", "si-versus-parameters", "si-versus-depth", "si-versus-knn"]
LONG = "a_layer_with_a_name_that_is_longer_than_most_names_of_layers"


@pytest.fixture(scope="module")
def dogs():
    return core.load_study(DEMO / "dogs")


@pytest.fixture(scope="module")
def figures(dogs):
    return {figure.name: figure for figure in make_figures(dogs, core.load_study(DEMO / "dogs-tuned"))}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A study of features: layers without blocks or parameters, all as wide; the best and last one with a long name."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    layers = {name: rng.normal(size=(60, 4)) + scale * labels[:, None] for scale, name in enumerate(["a", "<b>", LONG])}
    return core.study_from_features(layers, labels, out=tmp_path_factory.mktemp("figures") / "small")


def picture(figure, width="single"):
    return np.asarray(Image.open(io.BytesIO(rendered(figure, file_format="png", width=width))).convert("RGB"))


def texts(figure, width="single"):
    tree = ElementTree.fromstring(rendered(figure, file_format="svg", width=width))
    return [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text") if element.text]


def test_the_original_figures_ours_and_that_of_two_studies(figures):
    assert list(figures) == [*NAMES, "before-after"]


@pytest.mark.parametrize("width", WIDTHS_MM)
@pytest.mark.parametrize("name", [*NAMES, "before-after"])
def test_nothing_is_clipped(figures, name, width):
    pixels = picture(figures[name], width)
    assert pixels.shape[1] == pytest.approx(WIDTHS_MM[width] / 25.4 * 300, abs=5)
    border = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3), pixels[:, :3].reshape(-1, 3)])
    border = np.concatenate([border, pixels[:, -3:].reshape(-1, 3)])
    assert (border == 255).all()
    assert (pixels < 255).any()


def test_a_study_of_features_has_its_figures_and_long_names_are_not_clipped(small):
    figures = make_figures(small)
    assert [figure.name for figure in figures] == ["layers", "si", "depth", "si-versus-knn"]
    for figure in figures:
        pixels = picture(figure)
        assert (pixels[:, [0, 1, -2, -1]] == 255).all()
        assert (pixels[[0, 1, -2, -1]] == 255).all()
    assert "a" in texts(figures[1])  # without blocks, layers bear their names
    value = chosen_lead(small)["value"].iloc[-1]
    assert {"<b>", f"best and last {value:.3f}"} <= set(texts(figures[1]))
    assert all(f", {LONG}, SI {value:.3f}" in figure.caption for figure in (figures[1], figures[3]))


def test_chance_is_written_in_full_and_blocks_stand_for_layers(figures):
    shown = texts(figures["layers"])
    assert "chance 0.0075" in shown
    assert {"stem", "2", "3", "4", "5", "6"} <= set(shown)
    assert not [text for text in shown if text.startswith("block4")]
    assert {"2a", "4c", "6d"} <= set(texts(figures["layers"], "double"))


def test_block_names_are_as_long_as_there_is_room(dogs):
    layers = dogs.layers.astype({"block": object})
    named = {width: block_axis(layers, Size(width))[1]["block"].tolist() for width in (400, 900, 3000)}
    assert named[400][:4] == ["stem", "1", "2", "3"]
    assert named[900][:4] == ["stem", "1a", "2a", "2b"]
    assert named[3000][:4] == ["stem", "block1a", "block2a", "block2b"]


def test_fonts_are_embedded_in_a_pdf(figures):
    content = rendered(figures["layers"], file_format="pdf")
    assert content.startswith(b"%PDF")
    num_fonts = len(re.findall(rb"/Type /FontDescriptor", content))
    assert num_fonts >= 2  # regular and bold
    assert len(re.findall(rb"/FontFile[23]? ", content)) == num_fonts
    assert b"/MediaBox [0 0 252 " in content  # points: 89 mm


def test_an_svg_is_as_wide_as_the_column(figures):
    tree = ElementTree.fromstring(rendered(figures["si"], file_format="svg", width="double"))
    assert tree.get("width") == "183mm"
    height, width = (float(tree.get("viewBox").split()[index]) for index in (3, 2))
    assert float(tree.get("height").removesuffix("mm")) == pytest.approx(183 * height / width, abs=0.01)


@pytest.mark.parametrize(
    ("text", "bold", "width"),
    [("0.0", False, 5.56 * 2 + 2.78), ("iW", False, 2.22 + 9.44), ("iW", True, 2.78 + 9.44), ("−1 é", False, 19.74)],
)
def test_widths_of_texts_by_hand(text, bold, width):
    assert text_width(text, 10, bold=bold) == pytest.approx(width)


def test_every_text_of_an_svg_states_its_width(figures):
    tree = ElementTree.fromstring(rendered(figures["layers"], file_format="svg"))
    named = [element for element in tree.iter("{http://www.w3.org/2000/svg}text") if element.text]
    (chance,) = [element for element in named if element.text == "chance 0.0075"]
    size = float(chance.get("font-size").removesuffix("px"))
    assert float(chance.get("textLength")) == pytest.approx(text_width("chance 0.0075", size), abs=0.01)
    assert all(element.get("textLength") for element in named)


@pytest.mark.browser
@pytest.mark.parametrize("name", ["layers", "si-versus-parameters", "before-after"])
def test_no_font_clips_an_svg(figures, name, tmp_path):
    svg = rendered(figures[name], file_format="svg").replace(
        b"Arimo, Liberation Sans, Arial, Helvetica", b"DejaVu Sans"
    )
    (tmp_path / "figure.svg").write_bytes(svg)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 800, "height": 800}, device_scale_factor=2)
        page.goto((tmp_path / "figure.svg").as_uri())
        shot = page.locator("svg").first.screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))
    assert (pixels[:, [0, 1, 2, -4, -3]] == 255).all()  # the very last pixel may be a part of the page
    assert (pixels[[0, 1, 2, -4, -3]] == 255).all()


@pytest.mark.browser
@pytest.mark.parametrize(("name", "weights"), [("si", ["400", "700"]), ("depth", ["400"])])
def test_an_svg_brings_its_font(figures, name, weights, tmp_path):
    svg = rendered(figures[name], file_format="svg").decode()
    alone = svg.replace("Arimo, Liberation Sans, Arial, Helvetica, sans-serif", "Arimo, monospace")
    (tmp_path / "figure.svg").write_text(re.sub(' textLength="[^"]*" lengthAdjust="[^"]*"', "", alone))
    with chromium() as browser:
        page = browser.new_page()
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "figure.svg").as_uri())
        faces = page.evaluate("document.fonts.ready.then(() => [...document.fonts].map(f => [f.weight, f.status]))")
        drawn = page.evaluate(
            "[...document.querySelectorAll('text')].filter(t => t.textContent).map("
            "t => [t.textContent, parseFloat(getComputedStyle(t).fontSize), getComputedStyle(t).fontWeight,"
            " t.getComputedTextLength()])"
        )
    assert faces == [[weight, "loaded"] for weight in weights]
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert len([url for url in requests if url.startswith("file")]) == 1
    assert len(drawn) > 5
    for text, size, weight, width in drawn:
        # Kerning moves letters together by up to a tenth of the size a pair; monospace is a fifth wider.
        assert width == pytest.approx(text_width(text, size, bold=int(weight) > 500), rel=0.03, abs=size / 10)


def test_best_and_last_layer_are_labelled_with_their_values():
    study = core.load_study(DEMO / "digits")
    rows = study.measurements.query("measure == 'separation' and split == 'test' and sampling == 'full'")
    rows = rows[rows["pooling"].isin(["mean", "flat"])].astype({"layer": object}).set_index("layer")
    best, last = (float(rows.loc[name, "value"]) for name in ("block6b_dwconv", "predictions"))
    expected = {"block6b_dwconv": f"best: block6b_dwconv {best:.3f}", "predictions": f"last: predictions {last:.3f}"}
    assert marked_layers(chosen_lead(study)) == expected
    shown = texts(make_figures(study)[0])
    assert set(expected.values()) <= set(shown)
    assert "SI of each layer" not in shown


def test_one_layer_that_is_best_and_last_has_one_label(dogs):
    (text,) = marked_layers(chosen_lead(dogs)).values()
    assert text.startswith("best and last: predictions 0.8")


@pytest.mark.parametrize(
    ("layers", "labels", "headline"),
    [
        (
            {"a": np.eye(6), "b": np.eye(6)[::-1]},
            [0, 0, 0, 1, 1, 1],
            "No conclusion: many samples have several nearest",
        ),
        ({"a": np.arange(6.0)[:, None] ** 2, "b": np.arange(6.0)[:, None] ** 3}, [0] * 6, ""),
        ({"b": np.arange(6.0)[:, None] ** 2}, [0, 0, 0, 1, 1, 1], "One layer: SI 0.83"),
    ],
    ids=["ties", "one class", "one layer"],
)
def test_without_a_best_layer_none_is_called_so(tmp_path, layers, labels, headline):
    study = core.study_from_features(layers, labels, out=tmp_path / "study")
    caption = make_figures(study)[1].caption
    assert list(marked_layers(chosen_lead(study))) == ["b"]
    assert headline in caption
    assert "Last layer b, SI " in caption
    assert "est layer" not in caption.replace("Last layer", "")


def test_captions_say_what_the_tables_say(dogs, figures):
    caption = figures["layers"].caption
    lead = chosen_lead(dogs)
    row = lead[lead["layer"] == best_layer(lead)].iloc[0]
    assert f"SI {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], n = 1,200" in caption
    assert f"{row['chance']:.4f} (test samples, n = 1,200)" in caption
    for text in (
        "efficientnet-lite0, pre-trained on ImageNet",
        "stanford_dogs_224; 120 classes; 1,200 training and 1,200 test samples; seed 0.",
        "Band: 95% interval for the SI expected of a fresh sample",
        "The best of 60 values is biased upward. The classes are largely separated, late in the network.",
        "k = 5",
    ):
        assert text in caption


def test_a_caption_of_a_property_says_how_many_layers_are_left_out_and_the_interval(dogs, figures):
    table = properties_of(dogs, chosen_lead(dogs))
    num_sums = int((dogs.layers["parameters"] == 0).sum())
    caption = figures["si-versus-parameters"].caption
    assert f"{num_sums} layers without this number, or with 0, are left out." in caption
    assert f"{len(table) - num_sums} layers" in caption
    assert re.search(r"Spearman's rank correlation 0\.\d\d, 95% interval \[0\.\d\d, 0\.\d\d\]", caption)
    assert "dashed" not in caption


def test_layers_that_cannot_decide_say_so(tmp_path):
    rng = np.random.default_rng(1)
    layers = {f"l{width}": rng.normal(size=(40, width)) for width in (2, 3, 5, 7, 9)}
    study = core.study_from_features(layers, np.tile([0, 1], 20), out=tmp_path / "noise")
    (caption,) = [figure.caption for figure in make_figures(study) if figure.name == "si-versus-knn"]
    low, high = map(float, re.search(r"interval \[(\S+), (\S+)\]", caption).groups())
    assert low <= 0 <= high
    assert "these layers cannot decide whether the two are correlated" in caption


def test_the_caption_of_two_studies_words_the_change_as_the_page_does(figures):
    caption = figures["before-after"].caption
    assert "before (efficientnet-lite0, pre-trained on ImageNet, dogs)" in caption
    assert "after (efficientnet-lite0, fine-tuned, dogs-tuned)" in caption
    assert "with 1,200 samples" in caption
    assert re.search(r"The largest certain change is -0\.\d{3} \[-0\.\d{3}, -0\.\d{3}\] \(95% interval\)", caption)
    assert not re.search(r"[`*]", caption)


def test_markdown_becomes_plain_text():
    assert plain_text(r"SI **rose** at `top_conv` of a\_b \<i\> & c") == "SI rose at top_conv of a_b <i> & c"


@pytest.mark.parametrize(("file_format", "start"), [("pdf", b"%PDF"), ("svg", b"<svg"), ("png", b"\x89PNG")])
def test_the_command_writes_figures_and_captions(small, tmp_path, capsys, file_format, start):
    out = tmp_path / "new" / "figures"
    assert main(["figures", str(small.path), "--out", str(out), "--format", file_format]) == 0
    files = capsys.readouterr().out.split()
    assert sorted(Path(file).name for file in files) == sorted(path.name for path in out.iterdir())
    assert (out / f"si.{file_format}").read_bytes().startswith(start)
    assert "n = 60" in (out / "si.txt").read_text(encoding="utf-8")


def test_samples_that_a_study_does_not_have_are_refused(small, tmp_path, capsys):
    assert main(["figures", str(small.path), "--out", str(tmp_path / "out"), "--samples", "test"]) == 2
    assert "samples must be 'train' for this study; got 'test'." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused(small, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["figures", str(small.path), "--out", str(tmp_path / "file")]) == 1
    assert "out must be a folder that can be written to; got" in capsys.readouterr().err


def test_studies_of_other_samples_are_refused(small, tmp_path, capsys):
    assert main(["figures", str(small.path), str(DEMO / "digits"), "--out", str(tmp_path / "out")]) != 0
    error = capsys.readouterr().err
    assert "samples" in error
    assert "defect" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["vl_convert", "altair"])
def test_a_missing_package_is_named(small, tmp_path, monkeypatch, capsys, missing):
    for name in [name for name in sys.modules if name.startswith("core.report.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # whose import now fails
    assert main(["figures", str(small.path), "--out", str(tmp_path / "out")]) == 1
    assert "pip install altair vl-convert-python" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
