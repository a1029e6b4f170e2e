"""Every page as a picture: both themes, a wide and a narrow window. For review, and for the README.

    python -m tests.benchmarks.screenshots FOLDER [--study dogs] [--layer NAME] [--pages layers compare] [--readme]

`--readme` renews `explorer/demo/layers.png` from the page Layers, wide and light. `--map` renews
`explorer/demo/map.webp`, the map of the bundled digits moving through the layers; of no other study, because pictures
of dogs may not be given away.
"""

import argparse
import io
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser import ROOT, chromium, serve, wait_until_drawn

HOME = "layers"
THEMES = ("light", "dark")
WIDTHS = {1440: 1000, 390: 844}  # to height
NO_PHOTOGRAPHS = "[data-testid=stMain] img {display: none}"
README_HEIGHT = 1400  # with the whole chart
REST_MS = 1500  # without which a chart may still be growing to its width
MAP_FRAMES, MAP_WIDTH, FRAME_MS = 90, 560, 80
SET_SLIDER = "(slider, time) => { slider.value = time; slider.dispatchEvent(new Event('input')); }"


def pages() -> list[str]:
    """The pages' names, as their folders are called; the first page first."""
    names = sorted(path.parent.name for path in (ROOT / "explorer" / "app_pages").glob("*/view.py"))
    return [HOME, *(name for name in names if name != HOME)]


def page_url(address: str, name: str, query: dict[str, str]) -> str:
    path = "" if name == HOME else name.replace("_", "-")
    return f"{address}/{path}?{urlencode(query)}"


def shoot(browser: Browser, url: str, theme: str, width: int, to: Path, *, height: int | None = None) -> None:
    """Open a page in a fresh window, wait until it rests, and save it.

    height : in pixels, of a picture that may be given away, without photographs; by default the page is saved whole.
    """
    page = browser.new_page(viewport={"width": width, "height": height or WIDTHS[width]}, color_scheme=theme)
    page.goto(url)
    page.wait_for_selector("h1, [data-testid=stAlert]", timeout=60_000)
    wait_until_drawn(page)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=60_000)
    page.wait_for_timeout(REST_MS)
    if height is None:
        _grow(page, width)
    else:
        page.add_style_tag(content=NO_PHOTOGRAPHS)
    page.screenshot(path=to)
    page.close()


def _grow(page: Page, width: int) -> None:
    """Make the window as high as what is in it: the page scrolls inside of it."""
    height = page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 0")
    page.set_viewport_size({"width": width, "height": max(height, WIDTHS[width])})
    page.wait_for_timeout(REST_MS)


def record_map(browser: Browser, address: str, to: Path) -> None:
    """Save the map of the digits as it moves from the first layer to the last, as an animated WebP."""
    page = browser.new_page(viewport={"width": 900, "height": 900}, color_scheme="light")
    page.goto(page_url(address, "samples", {"study": "digits"}))
    page.wait_for_selector(".st-key-samples_map canvas[data-time]", timeout=120_000)
    page.wait_for_timeout(REST_MS)
    stage, slider = page.locator(".st-key-samples_map .stage"), page.locator(".st-key-samples_map .slider")
    stage.scroll_into_view_if_needed()
    last = float(slider.get_attribute("max") or 0)
    frames = []
    for number in range(MAP_FRAMES + 1):
        slider.evaluate(SET_SLIDER, number * last / MAP_FRAMES)
        page.wait_for_timeout(60)
        with Image.open(io.BytesIO(stage.screenshot())) as frame:
            frames.append(frame.convert("RGB").resize((MAP_WIDTH, MAP_WIDTH * frame.height // frame.width)))
    page.close()
    durations = [FRAME_MS] * MAP_FRAMES + [1500]
    frames[0].save(to, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=60, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--study", default="dogs", help="a bundled study's name, or a folder")
    parser.add_argument("--layer", help="the layer that is chosen")
    parser.add_argument("--pages", nargs="+", default=pages(), choices=pages())
    parser.add_argument("--themes", nargs="+", default=list(THEMES), choices=THEMES)
    parser.add_argument("--readme", action="store_true", help="renew the picture in the README too")
    parser.add_argument("--map", action="store_true", help="renew the moving picture of the map too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    query = {"study": options.study} | ({"layer": options.layer} if options.layer else {})
    with serve("--study", options.study) as (address, _), chromium() as browser:
        for name in options.pages:
            for theme in options.themes:
                for width in WIDTHS:
                    to = options.folder / f"{name}_{theme}_{width}.png"
                    shoot(browser, page_url(address, name, query), theme, width, to)
                    print(to)
        if options.map:
            record_map(browser, address, ROOT / "explorer" / "demo" / "map.webp")
        if options.readme:
            picture = ROOT / "explorer" / "demo" / "layers.png"
            shoot(browser, page_url(address, HOME, query), "light", 1440, picture, height=README_HEIGHT)
            print(picture)


if __name__ == "__main__":
    main()
