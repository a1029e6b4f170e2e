"""Whatever is uploaded is taken, or refused by a sentence: by what saves it, on its way, and on the page."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.runs.uploads.store import UploadStore
from explorer.server.public_mode import limits
from tests.damaged_uploads import WHOLE_FORM, Upload, forms, outcome, uploads, whole_uploads
from tests.explorer.upload_client import Browser

VIEW = Path(__file__).resolve().parents[2] / "explorer" / "app_pages" / "new_study" / "view.py"
CORPUS = list(uploads(every=12))
PARTS = 12  # of the corpus, of which one is tried; `python -m tests.benchmarks.damage --doors 5` tries all of it
ALLOWED = replace(limits({"SI_EXPLORER_PUBLIC": "1"}), upload_bytes=2_000_000, all_upload_bytes=4_000_000)


@pytest.mark.parametrize("upload", whole_uploads(), ids=lambda upload: upload[1])
def test_whole_uploads_are_taken_and_planned(tmp_path: Path, upload: tuple[str, str, bytes]):
    of, name, content = upload
    assert outcome(Upload(of, name, content, ""), tmp_path / "studies") == ""
    assert list((tmp_path / "studies").rglob("*"))


@pytest.mark.parametrize("of", ["features", "tables", "labels", "images"])
def test_damaged_uploads(tmp_path: Path, of: str):
    tried = [upload for upload in CORPUS if upload.of == of][::PARTS]
    failed = {upload.damage: told for upload in tried if (told := outcome(upload, tmp_path / "studies"))}
    assert failed == {}
    assert len(tried) >= 5


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UploadStore]:
    made = UploadStore(folder=lambda: tmp_path / "received", limits=lambda: ALLOWED)
    yield made
    made.close()


def test_damaged_forms(store: UploadStore):
    for damage, kind, content in forms(every=30):
        status = Browser(store, most=1_000_000).send("PUT", content, kind=kind)
        assert status in (204, 400, 413), damage
        assert status == 204 or store.held_bytes() == 0, damage
        store.remove_session("session")


@pytest.mark.parametrize("length", ["", "-1", "9" * 5000, "1e9", "\u00b2", "0x10"])
def test_a_length_that_is_none_announces_nothing(store: UploadStore, length: str):
    assert Browser(store, most=1_000_000).send("PUT", WHOLE_FORM, length=length) == 204
    assert store.held_bytes() == 20


def test_a_form_that_is_refused_holds_no_place(store: UploadStore):
    """Its boundary is longer than any that is read."""
    kind = f"multipart/form-data; boundary={'B' * 5000}"
    assert Browser(store, most=1_000_000).send("PUT", WHOLE_FORM, kind=kind, length="500000") == 400
    assert store.held_bytes() == 0


PAGE_KEYS = {"features": "new features", "tables": "new features", "labels": "new labels", "images": "new zip"}
ON_THE_PAGE = [next(itertools.islice((one for one in CORPUS if one.of == of), 7, None)) for of in PAGE_KEYS]
ON_THE_PAGE += [
    next(one for one in CORPUS if words in one.damage) for words in ("no UTF-8", "|O", "'(((((' of version 1")
]


@pytest.mark.parametrize("upload", ON_THE_PAGE, ids=lambda upload: upload.damage[:60])
def test_a_damaged_upload_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upload: Upload):
    """As far as the plan; the page must show it, or say why there is none."""
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path / "studies"))
    page = AppTest.from_file(VIEW, default_timeout=60)
    page.query_params["source"] = "images" if upload.of == "images" else "features"
    page.run()
    files = {PAGE_KEYS[upload.of]: upload}
    if upload.of == "labels":
        files["new features"] = next(Upload(of, *rest, "") for of, *rest in whole_uploads() if of == "features")
    for key, file in files.items():
        given = (file.name, file.content, "application/octet-stream")
        uploader = page.file_uploader(key=key)
        uploader.set_value([given] if key == "new features" else given)
    page.button(key="show_plan").click().run()
    assert not page.exception
    assert [one.value for one in page.error] or "start_run" in {one.key for one in page.button}
