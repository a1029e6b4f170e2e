"""Charts as files, with title and caption."""

import io
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from core.report import chart_files
from core.report.chart_files import chart_file, chart_file_apart, with_texts, wrapped

SPEC = {
    "data": {"values": [{"x": 1, "y": 2}, {"x": 2, "y": 1}]},
    "mark": "point",
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
    "width": 300,
    "height": 100,
}
STARTS = {"pdf": b"%PDF", "svg": b"<svg", "png": b"\x89PNG"}


@pytest.mark.parametrize("file_format", STARTS)
def test_a_process_of_its_own_draws_the_same(file_format):
    texts = {"title": "Two dots", "caption": "One below the other"}
    content = chart_file_apart(SPEC, file_format, **texts)
    assert content.startswith(STARTS[file_format])
    if file_format != "pdf":  # which has the time at which it was made
        assert content == chart_file(SPEC, file_format, **texts)


def test_title_and_caption_are_texts_above_and_below_the_chart():
    svg = chart_file(SPEC, "svg", title="a < b & c", caption="word " * 60).decode()
    assert ">a &lt; b &amp; c</text>" in svg
    baselines = [float(y) for y in re.findall('<text x="0" y="([^"]+)"', svg)]
    top, height = map(float, re.search('viewBox="\\S+ (\\S+) \\S+ (\\S+)"', svg).groups())
    assert len(baselines) > 2  # the caption has several lines
    assert top < baselines[0] < 0 < 100 < baselines[1] < baselines[-1] < top + height


@pytest.mark.parametrize("caption", ["plain words " * 40, "● ✚ words with symbols that the font lacks " * 12])
def test_no_text_reaches_the_border(caption):
    content = chart_file(SPEC, "png", title="A title that is long enough to need two lines of its own", caption=caption)
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert (np.concatenate([picture[:, 0], picture[:, -1], picture[0], picture[-1]]) == 255).all()
    assert (picture[-60:] < 200).any()  # the caption is drawn


def test_lines_are_as_long_as_there_is_room():
    # In Helvetica "aaa" is 3 · 556 thousandths wide, a space 278: two words of size 10 need 36.14.
    assert wrapped("aaa aaa aaa", 36.2, 10) == ["aaa aaa", "aaa"]
    assert wrapped("aaa aaa aaa", 36.1, 10) == ["aaa", "aaa", "aaa"]
    assert wrapped("a" * 50, 10, 10) == ["a" * 50]
    assert wrapped("", 10, 10) == []


def test_without_texts_the_chart_is_as_it_was():
    assert "<text x=" not in chart_file(SPEC, "svg").decode()
    with pytest.raises(ValueError, match="svg must start with a root"):
        with_texts("<svg></svg>", "title", "")


def test_another_format_is_an_error():
    with pytest.raises(ValueError, match="file_format must be one of pdf, svg, png; got 'gif'"):
        chart_file(SPEC, "gif")


def test_what_a_process_could_not_draw_is_said():
    with pytest.raises(RuntimeError, match="The chart could not be drawn: Vega"):
        chart_file_apart({"mark": "nothing"}, "svg")


def test_a_process_that_takes_too_long_is_stopped(monkeypatch):
    def sleeping(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(chart_files.subprocess, "run", sleeping)
    with pytest.raises(RuntimeError, match="longer than 60 s"):
        chart_file_apart(SPEC, "svg")
