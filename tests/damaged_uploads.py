"""Damaged files as a visitor uploads them, and what becomes of each on its way from the form to a plan."""

import contextlib
import io
import json
import shutil
import struct
import traceback
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from PIL import Image

from core.cli import main
from core.data.errors import DataError
from explorer.runs.uploads.checking import check_column, save_features, save_images
from explorer.server.public_mode import limits
from tests.damage import file_bytes_damages

LIMITS = limits({"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_MEMORY": "4GiB"})
SAMPLES = 12
IMAGE_KINDS = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp"}
WHOLE_FORM = (
    b'--B\r\nContent-Disposition: form-data; name="a.npy"; filename="a.npy"\r\nContent-Type: x/y\r\n\r\n'
    b"xxxxxxxxxxxxxxxxxxxx\r\n--B--\r\n"
)
NAMES = (
    *("../../evil.npy", "/etc/passwd.npy", "a\0b.npy", "con.npy", ".npy", "..npy", "a.NPY", "a.npy.npy", "\udcff.npy"),
    *("x" * 5000 + ".npy", "\u202e.npy", "01-a.npy", "labels.npy", "a:b.npy", "~.npy", "<script>.npy", "", ".", "a"),
)


@dataclass(frozen=True)
class Upload:
    """What an uploader gives. of : the uploader, "features", "labels", "images" or "tables". damage : in words."""

    of: str
    name: str
    content: bytes
    damage: str

    def getvalue(self) -> bytes:
        return self.content


def uploads(every: int) -> Iterator[Upload]:
    """All damaged uploads; each file is cut and changed at this many places."""
    for of, name, content in whole_uploads():
        for damage, damaged in file_bytes_damages(content, every=every):
            yield Upload(of, name, damaged, f"{name} {damage}")
        if content.startswith(b"PK"):
            for damage, damaged in _record_damages(content):
                yield Upload(of, name, damaged, f"{name} {damage}")
    yield from _arrays()
    yield from _packed_arrays()
    yield from _tables()
    yield from _label_texts()
    yield from _archives(every)
    for name in NAMES:
        yield Upload("features", name, _npy(_features()), f"the name {name[:20]!a}")


@cache
def whole_uploads() -> tuple[tuple[str, str, bytes], ...]:
    """An uploader, a name and the content of each kind of file."""
    features, labels = _features(), _labels()
    table = pd.DataFrame(features, columns=list("abc")).assign(breed=labels)
    return (
        ("features", "layer.npy", _npy(features)),
        ("features", "packed.npz", _npz(zipfile.ZIP_DEFLATED)),
        ("features", "stored.npz", _npz(zipfile.ZIP_STORED)),
        ("features", "bzip.npz", _npz(zipfile.ZIP_BZIP2)),
        ("features", "lzma.npz", _npz(zipfile.ZIP_LZMA)),
        ("tables", "table.parquet", _parquet(table)),
        ("labels", "labels.npy", _npy(labels)),
        ("labels", "labels.txt", "\n".join(f"class{label}" for label in labels).encode()),
        ("labels", "labels.csv", ("breed\n" + "\n".join(map(str, labels))).encode()),
        ("labels", "labels.parquet", _parquet(pd.DataFrame({"breed": labels}))),
        ("images", "pictures.zip", packed(pictures(), zipfile.ZIP_DEFLATED)),
        ("images", "stored.zip", packed(pictures(), zipfile.ZIP_STORED)),
    )


def outcome(upload: Upload, studies: Path) -> str:
    """What is wrong with how an upload ended: "", or a kind of failure with what is known of it after a colon.

    It is well where it is refused by a sentence and nothing of it is left, or where it is taken, and planned or refused
    by the plan.
    """
    shutil.rmtree(studies, ignore_errors=True)
    try:
        command = _saved(upload, studies)
    except DataError as error:
        left = [path for path in studies.rglob("*") if path.is_file()] if upload.of != "tables" else []
        told = str(error).strip()
        return f"silent: left {left[0]}" if left else "" if told else "silent: no word"
    except Exception:
        return f"uncaught: {traceback.format_exc()[-400:]}"
    return _planned(command, studies)


def _saved(upload: Upload, studies: Path) -> list[str]:
    """Save an upload, with what belongs to it whole; the command that plans it."""
    if upload.of == "images":
        saved = save_images(upload, studies, LIMITS)
        return ["study", str(studies / saved.data), "--model", "pixels", "--out", str(studies / "out")]
    if upload.of == "tables":
        saved = save_features([upload], None, studies, LIMITS)
        check_column(saved, "breed", studies)
        return ["measure", str(studies / saved.data), "--labels", "breed"]
    labels = upload if upload.of == "labels" else Upload("", "y.npy", _npy(_labels()), "")
    features = [upload] if upload.of == "features" else [Upload("", "x.npy", _npy(_features()), "")]
    saved = save_features(features, labels, studies, LIMITS)
    return ["measure", str(studies / saved.data), "--labels", str(studies / saved.labels)]


def _planned(command: list[str], studies: Path) -> str:
    """What is wrong with the plan of a saved upload."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _of_known_speed():
            status: object = main([*command, "--dry-run", "--json"])
    except SystemExit as stopped:
        status = stopped.code
    except Exception:
        return f"traceback: {traceback.format_exc()[-400:]}"
    if "defect of the program" in err.getvalue():
        return f"uncaught: {err.getvalue()[-400:]}"
    if status == 0:
        json.loads(out.getvalue())
    return "" if status == 0 or "error: " in err.getvalue() else f"silent: status {status}"


@contextlib.contextmanager
def _of_known_speed() -> Iterator[None]:
    """Plans need not measure how fast the machine is."""
    with contextlib.ExitStack() as stack:
        for module in ("measure", "study_plan"):
            stack.enter_context(mock.patch(f"core.commands.{module}.product_rate", return_value=1e9))
        yield


def forms(every: int) -> Iterator[tuple[str, str, bytes]]:
    """Forms that carry a file: in words, the header that says what they are, and what is sent."""
    usual = "multipart/form-data; boundary=B"
    for damage, damaged in file_bytes_damages(WHOLE_FORM, every=every):
        yield damage, usual, damaged
    kinds = (
        "",
        ";",
        "a",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xff",
    )
    kinds += (f"multipart/form-data; boundary={'B' * 5000}", "multipart/form-data; boundary*=utf-8''%ff", "\xff/\xff")
    for kind in kinds:
        yield f"the kind {kind[:50]!a}", kind, WHOLE_FORM
    yield "no head", usual, b"--B\r\n\r\nx\r\n--B--\r\n"
    yield "an endless head", usual, b"--B\r\nA: " + b"x" * 3_000_000
    yield "many heads", usual, b"--B\r\n" + b"A: b\r\n" * 50_000 + b"\r\nx\r\n--B--\r\n"
    yield "many parts", usual, (b"--B\r\nA: b\r\n\r\nx\r\n" * 10_000) + b"--B--\r\n"


def _features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(SAMPLES, 3)).astype(np.float32)


def _labels() -> np.ndarray:
    return np.arange(SAMPLES) % 3


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(method: int) -> bytes:
    return packed({"layer.npy": _npy(_features()), "other.npy": _npy(_features() + 1)}, method)


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def _parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


@cache
def _picture(kind: str, value: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    """Two classes of images, one of each kind."""
    kinds = enumerate(IMAGE_KINDS.items())
    named = [(f"{place}.{suffix}", kind) for place, (kind, suffix) in kinds]
    return {f"{folder}/{name}": _picture(kind, len(folder)) for folder in ("cat", "bird") for name, kind in named}


def _record_damages(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The fields of a zip archive's records: of its first member, of its directory and of its end."""
    for signature, size in ((b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22)):
        start = content.index(signature)
        for at in range(4, size, 2):
            for value in (0, 1, 0x0800, 0x7FFF, 0xFFFF):
                damaged = bytearray(content)
                struct.pack_into("<H", damaged, start + at, value)
                yield f"record {signature[2:].hex()}, field {at}: {value}", bytes(damaged)
    names = content.replace(b"layer", b"\xff\xfe/\x00r").replace(b"cat/", b"\xff\x00\xfe/")
    yield "names that are no text", names
    flagged = bytearray(names)
    struct.pack_into("<H", flagged, names.index(b"PK\x01\x02") + 8, 0x0800)
    yield "names that are no UTF-8 and say so", bytes(flagged)


def _header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    """An array of which the header says this."""
    width = "<H" if version == (1, 0) else "<I"
    line = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack(width, len(line)) + line + bytes(SAMPLES * 12)


HEADERS = (
    *(
        "{}",
        "[]",
        "1",
        "'a'",
        "(((((",
        "{'descr'",
        "{'descr': None}",
        "None",
        "",
        " " * 60_000,
        "{" * 5_000,
        "-" * 60_000,
    ),
    *("__import__('os').system('true')", "9" * 5_000, "1+1", "\0", "\xff", "lambda: 0"),
)
SHAPES = (
    *(
        "()",
        "(0,)",
        "(12, 0)",
        "(-12, 3)",
        "(12, -3)",
        "(-12, -3)",
        "(12,)",
        "(12, 3, 1)",
        "12",
        "(12.0, 3)",
        "(True, 3)",
    ),
    *("(12, 'a')", "None", "(10**30, 1)", "(99999999999999999999, 1)", "(4294967296, 4294967296)", "((12,), 3)"),
    *("(2**63, 0)", f"({'1, ' * 70})", "[12, 3]", "{}"),
)
TYPES = (
    *(
        "'<f4'",
        "'|O'",
        "'|V4'",
        "'<U3'",
        "'|S3'",
        "'<c8'",
        "'|b1'",
        "'<M8[s]'",
        "'<m8'",
        "'<f16'",
        "'>f4'",
        "'f'",
        "''",
    ),
    *("'|V0'", "'<U0'", "'<U999999999'", "'|S2147483647'", "'nonsense'", "None", "1", "[]", "{}", "[('a', '<f4')]"),
    *("[('a', '|O')]", "[('a', '<f4', (1000000, 1000000))]", "('<f4', (3,))", "[('a', [('b', '|O')])]", "'<f4,<f4'"),
    *("[('', '')]", "'<f4' * 3", "{'names': ['a'], 'formats': ['O']}"),
)


def _arrays() -> Iterator[Upload]:
    """Arrays whose headers promise what cannot be."""
    headers = [*HEADERS, *(_promise(shape=shape) for shape in SHAPES), *(_promise(kind=kind) for kind in TYPES)]
    headers += [_promise(order=order) for order in ("True", "None", "2", "'a'")]
    for header in headers:
        for version in ((1, 0), (2, 0), (3, 0)):
            content = _header(header, version)
            words = f"header {header[:90]!a} of version {version[0]}"
            yield Upload("features", "layer.npy", content, f"layer.npy {words}")
            yield Upload("labels", "labels.npy", content, f"labels.npy {words}")
    for version in ((0, 0), (4, 0), (255, 255)):
        yield Upload("features", "layer.npy", _header(_promise(), version), f"layer.npy of version {version}")
    yield Upload("features", "layer.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "layer.npy with a header of 4 GB")


def _promise(shape: str = "(12, 3)", kind: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"


def _packed_arrays() -> Iterator[Upload]:
    """Archives of arrays with odd members and names."""
    whole = _npy(_features())
    members: dict[str, dict[str, bytes]] = {
        "no members": {},
        "a folder": {"a/": b""},
        "no arrays": {"a.txt": b"a"},
        "an empty member": {"a.npy": b""},
        "a member that is none": {"a.npy": whole, "b.npy": b"no array"},
        "a text beside": {"a.npy": whole, "readme.txt": b"hello"},
        "an odd name": {"\u202e<script>\n.npy": whole},
        "a path": {"../../a.npy": whole, "/etc/b.npy": whole, "a/b/c.npy": whole},
        "no name": {".npy": whole},
        "a long name": {"x" * 20_000 + ".npy": whole},
        "labels alone": {"labels.npy": _npy(_labels())},
        "labels of another length": {"a.npy": whole, "labels.npy": _npy(_labels()[:5])},
        "labels of objects": {"a.npy": whole, "labels.npy": _header(_promise("(12,)", "'|O'"))},
        "ids twice": {"a.npy": whole, "ids.npy": _npy(np.zeros(SAMPLES, int))},
        "another length": {"a.npy": whole, "b.npy": _npy(_features()[:5])},
        "NaN": {"a.npy": _npy(_features() * np.nan)},
    }
    for words, files in members.items():
        yield Upload("features", "layers.npz", packed(files), f"layers.npz with {words}")
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("a.npy", whole)
    yield Upload("features", "layers.npz", twice.getvalue() + twice.getvalue(), "layers.npz twice over")
    yield Upload("features", "layers.npz", b"PK\x03\x04" + twice.getvalue(), "layers.npz behind other bytes")


def _tables() -> Iterator[Upload]:
    """Tables of other columns than features and labels."""
    features, labels = _features(), [f"c{label}" for label in _labels()]
    columns: dict[str, dict[str, object]] = {
        "no columns": {},
        "no features": {"breed": labels},
        "no labels": {"a": features[:, 0]},
        "texts": {"a": labels, "breed": labels},
        "times": {"a": pd.to_datetime(_labels()), "breed": labels},
        "gaps": {"a": [None, *features[1:, 0]], "breed": labels},
        "lists": {"a": features.tolist(), "breed": labels},
        "lists of two lengths": {"a": [[1.0], *features[1:].tolist()], "breed": labels},
        "lists of lists": {"a": [[[1.0]]] * SAMPLES, "breed": labels},
        "empty lists": {"a": [[]] * SAMPLES, "breed": labels},
        "lists as labels": {"a": features[:, 0], "breed": features.tolist()},
        "gaps in labels": {"a": features[:, 0], "breed": [None, *labels[1:]]},
        "bytes as labels": {"a": features[:, 0], "breed": [b"\xff"] * SAMPLES},
        "real labels": {"a": features[:, 0], "breed": features[:, 1]},
        "one row": {"a": features[:1, 0], "breed": labels[:1]},
        "no rows": {"a": features[:0, 0], "breed": labels[:0]},
        "an odd name": {"\u202e<script>\n\0": features[:, 0], "breed": labels},
        "infinity": {"a": features[:, 0] * np.inf, "breed": labels},
    }
    for words, table in columns.items():
        yield Upload("tables", "table.parquet", _parquet(pd.DataFrame(table)), f"table.parquet with {words}")


TEXTS = (
    *("", "\n", "\n" * SAMPLES, "a\n" * SAMPLES, "a\n" * 5, "9" * 5_000 + "\n" + "1\n" * 11, "1e999\n" * SAMPLES),
    *(
        "nan\n" * SAMPLES,
        "a,b\n" * SAMPLES,
        '"' + "a\n" * SAMPLES,
        "a" * 300_000 + "\n" + "b\n" * 11,
        "\ufeffa\n" * SAMPLES,
    ),
    *(
        "label\n" + "a\n" * 11,
        "0.5\n" * SAMPLES,
        "=cmd()\n" * SAMPLES,
        "\r" * SAMPLES,
        "\u2028" * SAMPLES,
        ",\n" * SAMPLES,
    ),
    *(
        "a;b\n" * 13,
        "a\tb\n" * 13,
        "0,a\n1,b\n" * 6,
        "\U0001f600\n" * SAMPLES,
        "\x1b[31m\n" * SAMPLES,
        "/etc/passwd\n" * SAMPLES,
    ),
)
BYTES = (
    b"\xff\xfe" + "a\n".encode("utf-16-le") * SAMPLES,
    b"\x80abc\n" * SAMPLES,
    b"\xed\xa0\x80\n" * SAMPLES,
    b"a\0\n" * 12,
)


def _label_texts() -> Iterator[Upload]:
    """Texts and tables of labels that are none."""
    for suffix in ("txt", "csv"):
        for content in (*(text.encode("utf-8", "surrogatepass") for text in TEXTS), *BYTES):
            yield Upload("labels", f"labels.{suffix}", content, f"labels.{suffix} {content[:20]!a}")


def _archives(every: int) -> Iterator[Upload]:
    """Whole archives with damaged images, and with odd members."""
    whole = pictures()
    for place, (kind, suffix) in enumerate(IMAGE_KINDS.items()):
        name = f"cat/{place}.{suffix}"
        for damage, damaged in file_bytes_damages(_picture(kind, 3), every=every):
            yield Upload("images", "x.zip", packed(whole | {name: damaged}), f"x.zip with {name} {damage}")
    members = {
        "no members": {},
        "no images": {"a.txt": b"a"},
        "images without folders": {"a.png": _picture("PNG", 1), "b.png": _picture("PNG", 2)},
        "one class": {"cat/a.png": _picture("PNG", 1), "cat/b.png": _picture("PNG", 2)},
        "a file where a folder must be": whole | {"cat": b"x", "cat/0.png/x.png": _picture("PNG", 1)},
        "an odd name": whole | {"c\u202e<script>/\n.png": _picture("PNG", 1)},
        "a long name": whole | {f"cat/{'x' * 300}.png": _picture("PNG", 1)},
        "a deep folder": whole | {"a/" * 200 + "a.png": _picture("PNG", 1)},
        "names in two cases": whole | {"CAT/0.PNG": _picture("PNG", 1), "Cat/0.Png": _picture("PNG", 1)},
        "hidden files": whole | {"cat/.a.png": _picture("PNG", 1), "__MACOSX/cat/._0.png": b"x"},
        "an empty name": whole | {"cat//0.png": _picture("PNG", 1), "./cat/9.png": _picture("PNG", 1)},
        "splits": {f"{split}/{name}": content for split in ("train", "test") for name, content in whole.items()},
        "an archive": whole | {"cat/a.zip": packed(whole), "cat/b.png": packed(whole)},
    }
    for words, files in members.items():
        yield Upload("images", "x.zip", packed(files), f"x.zip with {words}")
