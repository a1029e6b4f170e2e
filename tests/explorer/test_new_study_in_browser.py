"""From the form to the finished chart in a real Chromium: runs, their end, and what is refused."""

import io
import pickle
import re
import zipfile
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError, expect

from tests.browser import page_body, serve, wait_until_drawn

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The app with an empty folder of studies."""
    folder = tmp_path_factory.mktemp("new_study")
    environ = {"SI_EXPLORER_STUDIES": str(folder / "studies")}
    with serve(environ=environ, log=folder / "server.log") as (address, _):
        yield f"{address}/new-study"


def press(page, name: str) -> None:
    """Click a button of the page itself: while a page is computed, Streamlit's toolbar has a Stop of its own."""
    page_body(page).get_by_role("button", name=name, exact=True).click(timeout=90_000)  # a plan takes long when busy


def upload(page, label: str, name: str, content: bytes) -> None:
    """Give a file to the uploader with this label, and wait until the server has it.

    A file that is chosen while the page is drawn anew may be lost with the uploader it was given to: it is chosen
    again then, once.
    """
    uploader = page.get_by_test_id("stFileUploader").filter(has_text=label)
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    for last in (False, True):
        wait_until_drawn(page)
        try:
            with page.expect_response(lambda answer: "/upload_file/" in answer.url and answer.request.method == "PUT"):
                uploader.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files=[file])
            break
        except TimeoutError:
            if last:
                raise
    expect(page.get_by_text(name).first).to_be_visible()


def layers_of_features(layers: int = 60, samples: int = 1500) -> bytes:
    """Features whose neighbors take long enough for a run to be seen, and stopped, on the way."""
    rng = np.random.default_rng(0)
    arrays = {
        f"layer{place}": (rng.normal(size=(samples, 20)) + 4 * np.eye(20)[np.arange(samples) % 3]).astype(np.float32)
        for place in range(layers)
    }
    file = io.BytesIO()
    np.savez(file, labels=np.arange(samples) % 3, **arrays)
    return file.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_a_button_of_the_page_is_pressed_beside_one_of_the_toolbar(page):
    page.set_content(
        "<button>Stop</button>"
        "<div data-testid='stMainBlockContainer'><button onclick='this.textContent = 1'>Stop</button></div>"
    )
    press(page, "Stop")
    expect(page.get_by_role("button")).to_have_text(["Stop", "1"])


def dot() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    return file.getvalue()


def saved(features: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, features)
    return file.getvalue()


def test_digits_from_the_form_to_the_finished_chart(page, address):
    page.goto(f"{address}?per_class=10")
    press(page, "Show the plan")
    expect(page.get_by_text("Expected time")).to_be_visible(timeout=60_000)
    press(page, "Start the run")
    expect(page.get_by_text("Finished")).to_be_visible(timeout=60_000)
    press(page, "Open the study")
    expect(page.locator("svg.marks")).to_have_count(1, timeout=60_000)
    expect(page.get_by_text("digits", exact=False).first).to_be_visible()
    expect(page).to_have_url(re.compile(r"study=digits-pixels-[0-9a-f]{16}"))


@pytest.mark.shared
def test_photographs_through_a_network_from_the_form_to_the_finished_chart(page, address, dogs_dir, tmp_path):
    for breed in sorted((dogs_dir / "train").iterdir())[:2]:
        folder = tmp_path / "few dogs" / breed.name  # links, for the images stay where they are
        folder.mkdir(parents=True)
        for image in sorted(breed.iterdir())[:8]:
            (folder / image.name).symlink_to(image)
    asked = {"source": "folder", "data": tmp_path / "few dogs", "layers": "stem_conv,block1a_dwconv,avg_pool"}
    page.goto(f"{address}?{urlencode(asked)}")
    press(page, "Show the plan")
    expect(page.get_by_text("Expected time")).to_be_visible(timeout=120_000)
    expect(page.get_by_test_id("stMetricValue").first).to_have_text("16")
    press(page, "Start the run")
    page.get_by_role("button", name="Open the study", exact=True).click(timeout=240_000)  # when the run has finished
    chart = page.locator(".st-key-layers_chart svg.marks")
    expect(chart).to_contain_text("avg_pool", timeout=60_000)
    expect(chart).to_contain_text("block1a_dwconv")


def test_test_samples_are_asked_among_the_others(page, address):
    rng = np.random.default_rng(0)
    page.goto(f"{address}?source=features")
    for label, count in (("Features: one file a layer", 60), ("Their features", 30)):
        file = io.BytesIO()
        labels = np.arange(count) % 3
        np.savez(file, labels=labels, deep=(rng.normal(size=(count, 5)) + 9 * np.eye(5)[labels]).astype(np.float32))
        if label == "Their features":
            page.get_by_text("Test samples", exact=True).click()
        upload(page, label, f"{count} samples.npz", file.getvalue())
    press(page, "Show the plan")
    expect(page.get_by_text("60 train, 30 test")).to_be_visible(timeout=60_000)
    press(page, "Start the run")
    press(page, "Open the study")  # which is there when the run has finished
    expect(page.get_by_text("Test to train", exact=True)).to_be_visible(timeout=60_000)


def test_a_refused_plan_is_made_when_its_file_arrives(page, address):
    page.goto(f"{address}?source=features")
    press(page, "Show the plan")
    expect(page.get_by_role("alert").filter(has_text="choose a file to upload")).to_be_visible()
    upload(page, "Features: one file a layer", "late.npz", layers_of_features(layers=2, samples=60))
    expect(page.get_by_role("button", name="Start the run", exact=True)).to_be_visible(timeout=60_000)
    expect(page.get_by_text("60 train")).to_be_visible()


def test_a_run_is_found_again_after_a_reload_stopped_and_gone_on_with(page, address):
    page.goto(f"{address}?source=features")
    upload(page, "Features: one file a layer", "layers.npz", layers_of_features())
    press(page, "Show the plan")
    press(page, "Start the run")
    running = page_body(page).get_by_text("Running", exact=True)
    expect(running).to_be_visible()
    expect(page.get_by_text(re.compile(r"[1-9]\d* of 60 layers measured"))).to_be_visible()
    expect(page).to_have_url(re.compile("run=layers-"))

    page.reload()
    expect(running).to_be_visible()
    with page.context.browser.new_page() as other_tab:
        other_tab.goto(address)
        expect(page_body(other_tab).get_by_text("Running", exact=True).first).to_be_visible()

    press(page, "Stop")
    expect(page.get_by_text("Go on computes the rest")).to_be_visible()
    press(page, "Go on")
    expect(running).to_be_visible()
    press(page, "Stop")
    expect(page.get_by_text("Go on computes the rest")).to_be_visible()
    press(page, "Open the finished layers")
    expect(page.locator("svg.marks")).to_have_count(1, timeout=60_000)
    expect(page.get_by_text("was interrupted")).to_be_visible()


@pytest.mark.parametrize(
    ("source", "name", "content", "words"),
    [
        ("images", "bad.zip", b"this is no archive", "must be a zip archive of images"),
        ("images", "dot.zip", packed({"cat/1.png": dot(), "dog/1.png": dot()}), "must be at least 2 × 2 pixels"),
        ("features", "layer.npy", pickle.dumps({"a": 1}), "pickled Python objects"),
        ("features", "dot.npy", dot(), "got an image"),
        ("features", "no labels.npy", saved(np.ones((4, 2))), "must be given, since no labels.npy holds none"),
    ],
    ids=["bad zip", "one pixel", "pickle", "image as features", "no labels"],
)
def test_what_is_no_data_is_refused_beside_the_form(page, address, source, name, content, words):
    page.goto(f"{address}?source={source}&neighbors=7")
    upload(page, {"images": "Zip archive", "features": "Features: one file a layer"}[source], name, content)
    press(page, "Show the plan")
    expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()
    expect(page.get_by_text(name).first).to_be_visible()
    expect(page).to_have_url(re.compile("neighbors=7"))
    expect(page.get_by_role("button", name="Start the run")).to_have_count(0)


def test_an_image_is_no_archive_for_the_uploader(page, address):
    page.goto(f"{address}?source=images")
    file = {"name": "dot.png", "mimeType": "image/png", "buffer": dot()}
    page.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(files=[file])
    expect(page.get_by_text("files are not allowed")).to_be_visible()
