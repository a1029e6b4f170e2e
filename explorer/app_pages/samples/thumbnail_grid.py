"""A grid of thumbnails: a click or Enter opens a sample, arrow keys go from one to the next."""

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import streamlit as st

from explorer.server.page_errors import guarded
from explorer.studies.gallery import short_id
from explorer.studies.pictures import Pictures

THUMBNAIL_PIXELS = 128
_CACHED = 4096  # thumbnails of 3 to 4 kB

_HTML = '<div class="gallery"><div class="grid" role="group"></div></div>'
_CSS = """
.gallery { container-type: inline-size; }
.grid { display: grid; grid-template-columns: repeat(12, minmax(0, 1fr)); gap: 0.375rem; }
/* divisors of 24, so that the rows of a page are full */
@container (max-width: 79rem) { .grid { grid-template-columns: repeat(8, minmax(0, 1fr)); } }
@container (max-width: 52rem) { .grid { grid-template-columns: repeat(6, minmax(0, 1fr)); } }
@container (max-width: 39rem) { .grid { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
button {
  position: relative; padding: 0; overflow: hidden; text-align: left; cursor: pointer;
  font-family: var(--st-font); font-size: 0.75rem; line-height: 1.3; color: var(--st-text-color);
  background: var(--st-secondary-background-color); border: 2px solid transparent; border-radius: 0.375rem;
}
button[aria-current] { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
button.wrong { border-color: var(--st-red-color); }
button:hover { filter: brightness(0.94); }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; background: white; }
img.pixels { image-rendering: pixelated; }
.text { display: block; padding: 0.2rem 0.35rem 0.25rem; }
.text span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.badge {
  position: absolute; top: 0.2rem; left: 0.2rem; padding: 0 0.3rem; border-radius: 0.25rem;
  color: var(--st-background-color); background: var(--st-text-color);
}
"""
_JS = """
const POLL_MS = 200;
const LONGEST_MS = 60000;  // until the dialog is there

function tileOf({ label, picture, pixels, lines, wrong, mark }) {
  const tile = document.createElement("button");
  tile.type = "button";
  tile.tabIndex = -1;
  tile.title = label;
  tile.setAttribute("aria-label", label);
  tile.className = wrong ? "wrong" : "";
  if (picture) {
    const image = document.createElement("img");
    image.src = picture;
    image.alt = "";
    image.className = pixels ? "pixels" : "";
    tile.append(image);
  }
  const text = document.createElement("span");
  text.className = "text";
  for (const line of lines) {
    const span = document.createElement("span");
    span.textContent = line;
    text.append(span);
  }
  tile.append(text);
  if (mark) {
    const badge = document.createElement("span");
    badge.className = "badge";
    badge.textContent = mark;
    tile.append(badge);
  }
  return tile;
}

function columnsOf(tiles) {
  const next = tiles.findIndex(tile => tile.offsetTop > tiles[0].offsetTop);
  return next < 0 ? tiles.length : next;
}

// A dialog that closes leaves the focus to the page; here it comes back to where one was.
function focusAfterDialog(grid) {
  let seen = false;
  let waited = 0;
  const timer = setInterval(() => {
    const open = Boolean(document.querySelector("[role=dialog]"));
    seen = seen || open;
    waited += POLL_MS;
    if (open || (!seen && waited < LONGEST_MS)) return;
    clearInterval(timer);
    if (seen && grid.isConnected) grid.querySelector("[aria-current], [tabindex='0']")?.focus();
  }, POLL_MS);
}

export default function ({ parentElement, data, setTriggerValue }) {
  const grid = parentElement.querySelector(".grid");
  grid.setAttribute("aria-label", data.label);
  const hadFocus = grid.contains(grid.getRootNode().activeElement);
  const tiles = data.tiles.map(tileOf);
  grid.replaceChildren(...tiles);
  const selected = data.tiles.findIndex(tile => tile.sample === data.selected);
  if (selected >= 0) tiles[selected].setAttribute("aria-current", "true");

  const go = (index, focus) => {
    const target = Math.min(Math.max(index, 0), tiles.length - 1);
    tiles.forEach((tile, number) => { tile.tabIndex = number === target ? 0 : -1; });
    if (focus && tiles.length) tiles[target].focus();
  };
  go(selected, hadFocus);

  tiles.forEach((tile, index) => {
    tile.onfocus = () => go(index, false);
    tile.onclick = () => {
      focusAfterDialog(grid);
      setTriggerValue("open", data.tiles[index].sample);
    };
    tile.onkeydown = event => {
      const columns = columnsOf(tiles);
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
      const ends = { Home: 0, End: tiles.length - 1 };
      const turns = { PageUp: -1, PageDown: 1 };
      if (event.key in steps) go(index + steps[event.key], true);
      else if (event.key in ends) go(ends[event.key], true);
      else if (event.key in turns) setTriggerValue("turn", turns[event.key]);
      else return;
      event.preventDefault();
    };
  });
}
"""
_grid = st.components.v2.component("separation_index_thumbnails", html=_HTML, css=_CSS, js=_JS)


def show_thumbnails(
    rows: Sequence[Mapping[Any, Any]],
    pictures: Pictures,
    *,
    key: str,
    label: str,
    selected: int | None,
    open_sample: Callable[[int], None],
    turn_page: Callable[[int], None],
) -> None:
    """Show samples as a grid of thumbnails.

    Parameters
    ----------
    rows : sequence of mapping
        Of `samples_at`, with the column mark.
    pictures : Pictures
        The study's pictures; without, the tiles have texts only.
    key : str
        Session key of the grid.
    label : str
        What the grid shows, for screen readers.
    selected : int or None
        The sample that is selected on the page.
    open_sample : callable
        Called with a sample's number when its tile is clicked.
    turn_page : callable
        Called with -1 or 1 for the keys PageUp and PageDown.
    """
    shown = {int(row["sample"]) for row in rows}

    def opened() -> None:
        sample = st.session_state[key].open
        if isinstance(sample, int) and sample in shown:  # the browser sends it, and a client may forge it
            open_sample(sample)

    def turned() -> None:
        step = st.session_state[key].turn
        if step in (-1, 1):
            turn_page(step)

    data = {"label": label, "selected": selected, "tiles": [tile(row, pictures) for row in rows]}
    _grid(data=data, key=key, on_open_change=guarded(opened), on_turn_change=guarded(turned), height="content")


def tile(row: Mapping[Any, Any], pictures: Pictures) -> dict[str, Any]:
    """What the browser needs to draw one sample.

    Parameters
    ----------
    row : mapping
        Of `samples_at`, with the column mark.
    pictures : Pictures
        The study's pictures.
    """
    wrong, name = not row["same_label"], short_id(row["id"])
    texts = [f"{row['class_name']}, {name}"]
    texts.append(f"nearest neighbor {short_id(row['nearest_id'])}, of {'another' if wrong else 'its'} class")
    texts.append(f"agrees at {row['share']:.0%} of layers")
    texts.append(f"decided at {row['decided']}" if row["decided"] else "not decided before the last layer")
    if row["mark"]:
        texts.append(f"marked {row['mark']}")
    lines = [str(row["class_name"]), f"✕ {row['nearest_class']}" if wrong else "✓"]
    if not pictures:
        lines.insert(0, name)
    return {
        "sample": int(row["sample"]),
        "label": "; ".join(texts),
        "picture": thumbnail(pictures, str(row["source"])) if pictures else "",
        "pixels": pictures.digits,
        "lines": lines,
        "wrong": wrong,
        "mark": row["mark"],
    }


@lru_cache(maxsize=_CACHED)
def thumbnail(pictures: Pictures, source: str) -> str:
    """A sample's thumbnail as a data URL; "" without a picture."""
    picture = pictures.encoded(source, THUMBNAIL_PIXELS)
    if picture is None:
        return ""
    kind = "png" if pictures.digits else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
