"""Download buttons: charts as PNG or SVG, tables as CSV or Parquet, a study's configuration and its report."""

import io
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

NO_REPORT = "The charts of a report need a package that is missing here: pip install vl-convert-python."

_HTML = '<button type="button"></button>'
_CSS = """
button {
  font-family: var(--st-font); font-size: 0.875rem; color: var(--st-text-color);
  background: transparent; cursor: pointer;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
  box-sizing: border-box; height: 2.5rem; padding: 0 0.75rem; vertical-align: top; width: 100%; white-space: nowrap;
}
button:hover, button:focus-visible { color: var(--st-primary-color); border-color: var(--st-primary-color); }
"""
_JS = """
const SCALE = 2;  // PNG pixels per screen pixel
// The page's own font is missing where a picture is seen.
const FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif";
const MARGIN = 4;  // pixels

function drawnSvg(container) {
  const drawn = document.querySelector(`.st-key-${container} .stVegaLiteChart svg.marks`);
  if (!drawn) return null;
  const svg = drawn.cloneNode(true);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  for (const text of svg.querySelectorAll("text")) text.style.fontFamily = FONT;
  const box = enclosingBox(svg, drawn.getBoundingClientRect());
  svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
  svg.setAttribute("width", box.width);
  svg.setAttribute("height", box.height);
  const background = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const name of ["x", "y", "width", "height"]) background.setAttribute(name, box[name]);
  background.setAttribute("fill", getComputedStyle(document.querySelector(".stApp")).backgroundColor);
  svg.prepend(background);
  return { blob: new Blob([svg.outerHTML], { type: "image/svg+xml" }), box };
}

// The chart as it was on the page, and all its texts in the font of the picture, which may be wider.
function enclosingBox(svg, { width, height }) {
  const hidden = document.createElement("div");
  hidden.style.cssText = "position: absolute; left: -99999px; visibility: hidden";
  hidden.append(svg);
  document.body.append(hidden);
  const content = svg.getBBox();
  hidden.remove();
  const x = Math.floor(Math.min(0, content.x - MARGIN));
  const y = Math.floor(Math.min(0, content.y - MARGIN));
  return {
    x, y,
    width: Math.ceil(Math.max(width, content.x + content.width + MARGIN)) - x,
    height: Math.ceil(Math.max(height, content.y + content.height + MARGIN)) - y,
  };
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function savePng({ blob, box }, name) {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = box.width * SCALE;
    canvas.height = box.height * SCALE;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(image.src);
    canvas.toBlob(png => save(png, name), "image/png");
  };
  image.src = URL.createObjectURL(blob);
}

export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  button.textContent = data.label;
  button.setAttribute("aria-label", data.ariaLabel);
  button.onclick = () => {
    const svg = drawnSvg(data.container);
    if (!svg) return;
    if (data.fileName.endsWith(".png")) savePng(svg, data.fileName);
    else save(svg.blob, data.fileName);
  };
}
"""
_save_chart = st.components.v2.component("separation_index_save_chart", html=_HTML, css=_CSS, js=_JS)


def save_chart_button(label: str, *, container: str, file_name: str) -> None:
    """Show a button that saves a chart as it is drawn, on the page's background color.

    Parameters
    ----------
    label : str
        Text of the button.
    container : str
        Key of the `st.container` that holds the chart.
    file_name : str
        Name of the saved file; its suffix, .png or .svg, decides the format.
    """
    kind = file_name.rpartition(".")[2].upper()
    data = {"label": label, "ariaLabel": f"Chart as {kind}", "container": container, "fileName": file_name}
    _save_chart(data=data, key=f"save_{kind}_{container}", width="content", height="content")


def save_table_buttons(table: Callable[[], pd.DataFrame], file: str) -> None:
    """Show buttons that save a table as CSV or Parquet.

    Parameters
    ----------
    table : callable
        Returns the table; called only when a button is clicked.
    file : str
        Name of the saved file without suffix, unique on the page.
    """
    st.download_button(
        "CSV",
        lambda: table().to_csv(index=False).encode(),
        f"{file}.csv",
        "text/csv",
        on_click="ignore",
        key=f"csv_{file}",
    )
    parquet = "application/vnd.apache.parquet"
    st.download_button(
        "Parquet", lambda: _parquet(table()), f"{file}.parquet", parquet, on_click="ignore", key=f"parquet_{file}"
    )


def export_row(
    container: str,
    table: Callable[[], pd.DataFrame],
    file: str,
    info: Mapping[str, Any] | None = None,
    *,
    report_of: str | None = None,
) -> None:
    """Show all download buttons of a chart in one row.

    Parameters
    ----------
    container : str
        Key of the `st.container` that holds the chart.
    table : callable
        Returns the chart's numbers; called only when a button is clicked.
    file : str
        Name of the saved files without suffix, unique on the page.
    info : mapping, optional
        Content of study.json; if given, it can be saved too.
    report_of : str, optional
        Folder of a study; if given, its report can be saved too.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Save", width="content")
        for kind in ("PNG", "SVG"):
            save_chart_button(kind, container=container, file_name=f"{file}.{kind.lower()}")
        save_table_buttons(table, file)
        if info is not None:
            save_configuration_button(info, file)
        if report_of is not None:
            save_report_button(Path(report_of))


def save_table_row(table: Callable[[], pd.DataFrame], file: str) -> None:
    """Show the download buttons of a table in a separate row; see `save_table_buttons`."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Save", width="content")
        save_table_buttons(table, file)


def save_configuration_button(info: Mapping[str, Any], file: str) -> None:
    """Show a button that saves the study's configuration, study.json."""
    text = json.dumps(dict(info), indent=1, ensure_ascii=False)
    name, kind = "study.json", "application/json"
    st.download_button("Configuration", text, name, kind, on_click="ignore", key=f"study_{file}")


def save_report_button(study: Path) -> None:
    """Show a button that saves a report of the study as one HTML file, made when the button is clicked."""
    missing = find_spec("vl_convert") is None
    st.download_button(
        "Report",
        lambda: _report(study),
        f"{study.name}_report.html",
        "text/html",
        on_click="ignore",
        key=f"report_{study}",
        disabled=missing,
        help=NO_REPORT if missing else "The whole study as one self-contained HTML page. It takes a few seconds.",
    )


def _report(study: Path) -> bytes:
    from core.report.content import make_report  # here, because no page needs these modules to be drawn
    from core.report.html import as_html

    return as_html(make_report(study)).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
