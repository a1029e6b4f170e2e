"""Figures of a study for a paper: charts without a pointer, in the width of a column, each with a caption as text.

The original work shows SI, parameters and depth of each layer; here these come with intervals and chance, alone and in
one figure, SI against each property, and SI before and after.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.analysis.comparing import compare_studies, match_layers
from core.analysis.curves import measured_layers
from core.analysis.layer_properties import known_properties, rank_correlation
from core.analysis.separation_level import best_layer, has_best_layer, lead_curve
from core.data.files import check_folder, make_folder, replace_file
from core.report.chart_files import FORMATS, INSTALL, PORTABLE_FONT, chart_file
from core.report.lead_values import chosen_curves, splits_of
from core.report.plots import properties_of
from core.report.words.figure_captions import change_caption, curves_caption, panel_caption, property_caption
from core.study.store.opening import Study

if TYPE_CHECKING:
    from core.report.charts.frame import Size, UncheckedChart

WIDTHS_MM = {"single": 89, "double": 183}  # of one column, and of a page of two columns
_POINTS_A_MM = 72 / 25.4
_PIXELS_AN_INCH = 300  # of a PNG
_TEXT_POINTS = 7
_AGAINST = {"parameters": "parameters", "channels": "depth", "knn": "knn"}  # property to its name in a file
_BESIDE_DOT = 30  # characters for which there is room beside a dot


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure: the name of its files without suffix, what draws it, and its caption.

    Attributes
    ----------
    name : str
    draw : callable
        Returns the chart; it imports Altair.
    caption : str
        Plain text: network, data, number of samples, chance, interval and seed, and what is concluded.
    """

    name: str
    draw: Callable[["Size"], "UncheckedChart"]
    caption: str


def make_figures(
    study: Study, after: Study | None = None, *, samples: str | None = None, pooling: str | None = None
) -> list[Figure]:
    """Make the figures of a study and, if there is a study after it, the figure of both.

    Parameters
    ----------
    study : Study
        With values of SI.
    after : Study, optional
        A study of the same samples, such as after fine-tuning.
    samples : {"test", "train", "cross"}, optional
        By default each split by itself; test samples, where there are any, in figures of one set of samples.
    pooling : {"mean", "flat"}, optional
        By default channel means where there are any.

    Raises
    ------
    ValueError
        The study has no such values. StudyError, which is one: the two studies cannot be compared.
    """
    curves = chosen_curves(study, samples=samples, pooling=pooling)
    lead = lead_curve(curves)
    layers = measured_layers(study)
    layers = layers[layers["layer"].isin(curves["layer"])].reset_index(drop=True)
    figures = _layer_figures(study, curves, lead, layers)
    table = properties_of(study, lead)
    known = known_properties(table)
    for name, title in _AGAINST.items():
        if name in known:
            figures.append(_property_figure(study, curves, lead, table, name, f"si-versus-{title}"))
    if after is not None:
        figures.append(_change_figure(study, after, lead))
    return figures


def write_figures(
    figures: Sequence[Figure], out: Path, *, file_format: str = "pdf", width: str = "single"
) -> list[Path]:
    """Write each figure and, beside it, its caption as a text file; returns the files.

    Parameters
    ----------
    figures : sequence of Figure
    out : path
        A folder, which is made where it does not exist; files of the same names are replaced.
    file_format : {"pdf", "svg", "png"}
        PDF and SVG embed their fonts, and SVG keeps texts as texts; PNG has 300 pixels an inch.
    width : {"single", "double"}
        89 mm, one column, or 183 mm, two columns.

    Raises
    ------
    ValueError
        The format or the width is unknown, or `out` is no folder that can be written to.
    ImportError
        Altair or vl-convert-python is not installed.
    """
    if file_format not in FORMATS or width not in WIDTHS_MM:
        raise ValueError(
            f"file_format must be one of {', '.join(FORMATS)}, and width one of {', '.join(WIDTHS_MM)}; "
            f"got {file_format!r} and {width!r}."
        )
    check_folder(out)
    pictures = [
        rendered(figure, file_format=file_format, width=width) for figure in figures
    ]  # before a file is written
    make_folder(out)
    files = []
    for figure, picture in zip(figures, pictures, strict=True):
        for path, content in {
            out / f"{figure.name}.{file_format}": picture,
            out / f"{figure.name}.txt": f"{figure.caption}\n".encode(),
        }.items():
            replace_file(path, partial(_write_bytes, content))
            files.append(path)
    return files


def rendered(figure: Figure, *, file_format: str = "pdf", width: str = "single") -> bytes:
    """Return a figure as the content of a file; parameters and errors as of `write_figures`."""
    try:
        from core.report.charts.frame import Size, standalone_spec
        from core.report.charts.theme import vega_config
    except ImportError as error:
        raise ImportError(INSTALL) from error
    points = round(WIDTHS_MM[width] * _POINTS_A_MM)
    size = Size(points, scale=_TEXT_POINTS / 12, interactive=False)
    spec = standalone_spec(figure.draw(size), vega_config("light", font=PORTABLE_FONT, font_size=size(11)))
    spec["padding"] = 2
    content = chart_file(spec, file_format, pixels_an_inch=_PIXELS_AN_INCH)
    if file_format == "svg":
        return _in_millimeters(content.decode(), WIDTHS_MM[width]).encode()
    return content


def _in_millimeters(svg: str, width_mm: float) -> str:
    """An SVG as wide on paper as the PDF, which has one pixel a point."""
    match = re.search(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"', svg)
    if match is None:  # another version of the renderer
        return svg
    pixels, height = float(match[1]), float(match[2])
    sized = match[0].replace(f'width="{match[1]}"', f'width="{width_mm}mm"')
    sized = sized.replace(f'height="{match[2]}"', f'height="{width_mm * height / pixels:.3f}mm"')
    return svg.replace(match[0], sized, 1)


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _layer_figures(study: Study, curves: pd.DataFrame, lead: pd.DataFrame, layers: pd.DataFrame) -> list[Figure]:
    """All panels in one figure, and SI, parameters and depth in figures of their own."""

    def draw(panels: Sequence[str], size: "Size") -> "UncheckedChart":
        from core.report.charts.layer_chart import layers_chart

        return layers_chart(curves, layers, marked=marked_layers(lead), panels=panels, size=size)

    caption = curves_caption(study, curves, lead)
    known = [name for name in ("channels", "parameters") if (layers[name] > 0).any()]
    knn = ["knn"] if (curves["measure"] == "kNN").any() else []
    all_panels = ["si", *knn, *known]
    figures = [
        Figure("layers", partial(draw, all_panels), f"{caption} {panel_caption(curves, [*knn, *known])}".strip()),
        Figure("si", partial(draw, ["si"]), caption),
    ]
    for name in known:
        text = panel_caption(curves, [name], alone=study)
        figures.append(Figure({"channels": "depth"}.get(name, name), partial(draw, [name]), text))
    return figures


def marked_layers(lead: pd.DataFrame, most_characters: int = 44) -> dict[str, str]:
    """Return the texts beside the best and the last layer of a curve of SI: name and value.

    Only the last one has a text where there is no best layer: `core.analysis.separation_level.has_best_layer`.

    Parameters
    ----------
    lead : DataFrame
        As returned by `core.analysis.separation_level.lead_curve`.
    most_characters : int
        For which there is room; a longer text leaves out the name, which stands in the caption.
    """
    values = lead.set_index("layer")["value"]
    best, last = best_layer(lead), str(lead["layer"].iloc[-1])
    words = {last: "last"}
    if has_best_layer(lead):
        words = {best: "best and last"} if best == last else {best: "best", last: "last"}
    texts = {}
    for layer, word in words.items():
        text = f"{word}: {layer} {values[layer]:.3f}"
        texts[layer] = text if len(text) <= most_characters else f"{word} {values[layer]:.3f}"
    return texts


def _property_figure(
    study: Study, curves: pd.DataFrame, lead: pd.DataFrame, table: pd.DataFrame, column: str, name: str
) -> Figure:
    def draw(size: "Size") -> "UncheckedChart":
        from core.report.charts.property_chart import property_chart

        return property_chart(table, column, marked=marked_layers(lead, _BESIDE_DOT), size=size)

    untied = table[~table["tied"]]
    correlation = rank_correlation(untied[column], untied["si"])
    return Figure(name, draw, property_caption(study, curves, lead, column, correlation, int(table[column].count())))


def _change_figure(study: Study, after: Study, lead: pd.DataFrame) -> Figure:
    split, among = splits_of(lead)
    options: Mapping[str, Any] = {
        "measure": "cross" if among != split else "separation",
        "split": split,
        "pooling": str(lead["pooling"].iloc[0]),
    }
    table, match = compare_studies(study, after, **options), match_layers(study, after, **options)
    if table.empty:
        raise ValueError(f"{after.path} must have a layer in common with {study.path}; it has none.")
    blocks = measured_layers(after).set_index("layer")["block"]
    table = table.assign(block=table["layer"].map(blocks).fillna(""))

    def draw(size: "Size") -> "UncheckedChart":
        from core.report.charts.change_chart import change_chart

        return change_chart(table, pd.DataFrame(columns=["layer", "value"]), ("before", "after"), size=size)

    return Figure("before-after", draw, change_caption(study, after, lead, table, match))
