"""The menu under each chart that saves it: as a picture with title and caption, its numbers, the study's settings.

Pictures are drawn on the server when a button is clicked, by the code of `python -m core figures`: always light and
complete, whatever the page's colors and width are.
"""

import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.report.chart_files import PORTABLE_FONT, WIDTH, chart_file_apart
from core.report.charts.frame import UncheckedChart, records, with_config
from core.report.charts.theme import vega_config
from core.report.words.formatting import without_markdown
from explorer.studies.loading import OpenStudy
from explorer.studies.provenance import caption

PICTURES = {"png": ("PNG", "image/png"), "svg": ("SVG", "image/svg+xml"), "pdf": ("PDF", "application/pdf")}
NOT_INSTALLED = "Pictures and reports need a package that is missing here: pip install vl-convert-python."
_drawing = threading.BoundedSemaphore(2)  # as many pictures are drawn at the same time


@dataclass(frozen=True, eq=False)
class Picture:
    """A chart to save with title and caption.

    Attributes
    ----------
    chart : UncheckedChart or mapping
        As the page shows it; a mapping is a specification with tables, of `core.report.charts.frame.spec_and_tables`.
    title : str
    caption : str
        Markdown, such as the page shows it below the chart.
    """

    chart: UncheckedChart | Mapping[str, Any]
    title: str
    caption: str

    def file(self, file_format: str) -> bytes:
        """The picture as the content of a file; see `core.report.chart_files.chart_file_apart`."""
        with _drawing:
            return chart_file_apart(
                self.spec(), file_format, title=without_markdown(self.title), caption=without_markdown(self.caption)
            )

    def spec(self) -> dict[str, Any]:
        """The chart on white, as wide as a page, with its data."""
        if isinstance(self.chart, Mapping):
            tables = {name: records(table) for name, table in self.chart.get("datasets", {}).items()}
            spec = {**self.chart, "datasets": tables}
        else:
            spec = self.chart.to_dict()
        return with_config({**spec, "width": WIDTH}, vega_config("light", font=PORTABLE_FONT))


def picture_of(chart: UncheckedChart | Mapping[str, Any], study: OpenStudy, title: str, text: str) -> Picture:
    """A chart of a study; its caption is `text`, and the study's network, data, numbers of samples and seed."""
    return Picture(chart, title, f"{text.strip()} {caption(study)}.")


def save_menu(
    file: str,
    table: Callable[[], pd.DataFrame],
    picture: Picture | None = None,
    *,
    info: Mapping[str, Any] | None = None,
    report_of: str | None = None,
    label: str = "Save",
) -> None:
    """Show a menu that saves a chart and its numbers, or a table.

    Parameters
    ----------
    file : str
        Name of the saved files without suffix, unique on the page.
    table : callable
        Returns the numbers; called only when a button is clicked.
    picture : Picture, optional
        The chart; without one, the menu is of a table.
    info : mapping, optional
        Content of study.json; if given, it can be saved too.
    report_of : str, optional
        Folder of a study; if given, its report can be saved too.
    label : str
        Of the menu's button.
    """
    with st.popover(label, icon=":material/download:", key=f"save_{file}", type="tertiary"):
        if picture is not None:
            st.caption("Chart, with title and caption")
            with st.container(horizontal=True, gap="small"):
                _picture_buttons(picture, file)
        st.caption("Numbers" if picture is not None else "Table")
        with st.container(horizontal=True, gap="small"):
            _table_buttons(table, file)
        if info is not None or report_of is not None:
            st.caption("Study")
            with st.container(horizontal=True, gap="small"):
                if info is not None:
                    _configuration_button(info, file)
                if report_of is not None:
                    _report_button(Path(report_of))


def _picture_buttons(picture: Picture, file: str) -> None:
    missing = find_spec("vl_convert") is None
    for suffix, (label, kind) in PICTURES.items():
        _download(
            label,
            partial(picture.file, suffix),
            f"{file}.{suffix}",
            kind,
            key=f"{suffix}_{file}",
            disabled=missing,
            help=NOT_INSTALLED if missing else None,
        )


def _table_buttons(table: Callable[[], pd.DataFrame], file: str) -> None:
    _download("CSV", lambda: table().to_csv(index=False).encode(), f"{file}.csv", "text/csv", key=f"csv_{file}")
    kind = "application/vnd.apache.parquet"
    _download("Parquet", lambda: _parquet(table()), f"{file}.parquet", kind, key=f"parquet_{file}")


def _configuration_button(info: Mapping[str, Any], file: str) -> None:
    """Show a button that saves the study's configuration, study.json."""
    text = json.dumps(dict(info), indent=1, ensure_ascii=False)
    _download("Configuration", lambda: text.encode(), "study.json", "application/json", key=f"study_{file}")


def _report_button(study: Path) -> None:
    """Show a button that saves a report of the study as one HTML file, made when the button is clicked."""
    missing = find_spec("vl_convert") is None
    _download(
        "Report",
        lambda: _report(study),
        f"{study.name}_report.html",
        "text/html",
        key=f"report_{study}",
        disabled=missing,
        help=NOT_INSTALLED if missing else "The whole study as one HTML page. It takes a few seconds.",
    )


def _download(label: str, content: Callable[[], bytes], name: str, kind: str, **options: Any) -> None:
    """Show a button that makes a file when it is clicked, without a rerun of the page."""
    st.download_button(label, content, name, kind, on_click="ignore", **options)


def _report(study: Path) -> bytes:
    from core.report.content import make_report  # here, because no page needs these modules to be drawn
    from core.report.html import as_html

    return as_html(make_report(study)).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
