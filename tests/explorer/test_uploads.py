"""Uploads are judged by what they hold."""

import io
import pickle
import stat
import zipfile
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.data.errors import DataError
from core.data.features import open_features, open_test_features
from core.data.images.loading import load_images
from explorer.runs.uploads.checking import UPLOADS, check_column, save_features, save_images
from explorer.server.public_mode import limits

PUBLIC = limits({"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_MEMORY": "4GiB"})


@dataclass
class Upload:
    """What Streamlit's uploader gives."""

    name: str
    content: bytes

    def getvalue(self) -> bytes:
        return self.content


def png(width: int = 4, height: int = 4, value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def packed(files: dict[str, bytes], name: str = "pictures.zip") -> Upload:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return Upload(name, file.getvalue())


def npy(array: np.ndarray, name: str = "layer.npy") -> Upload:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return Upload(name, file.getvalue())


def parquet(frame: pd.DataFrame, name: str = "layer.parquet") -> Upload:
    file = io.BytesIO()
    frame.to_parquet(file)
    return Upload(name, file.getvalue())


def pictures(top: str = "") -> dict[str, bytes]:
    return {f"{top}{name}/{number}.png": png(value=number) for name in ("cat", "dog") for number in range(5)}


def nothing_is_kept(studies) -> bool:
    return not [path for path in studies.rglob("*") if path.is_file()]


@pytest.mark.parametrize("splits", [("Training", "Testing"), ("train", "val")])
def test_an_archive_keeps_its_splits_whatever_they_are_called(tmp_path, splits):
    train, test = splits
    saved = save_images(packed(pictures(f"set/{train}/") | pictures(f"set/{test}/")), tmp_path, PUBLIC)
    images = load_images(tmp_path / saved.data)
    assert sorted(set(images.splits.tolist())) == ["test", "train"]
    alone = save_images(packed(pictures(f"{train}/")), tmp_path, PUBLIC)  # its folder is no wrapper
    assert set(load_images(tmp_path / alone.data).splits.tolist()) == {"train"}


def test_all_files_of_an_archive_that_cannot_be_used_are_told_at_once(tmp_path):
    files = pictures() | {"cat/a.png": b"no image", "cat/b.png": png(1, 9), "dog/c.jfif": b""}
    with pytest.raises(DataError) as caught:
        save_images(packed(files), tmp_path, PUBLIC)
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 files of the archive cannot be used:"
    assert [line.split(" must")[0] for line in lines[1:]] == ["1. 'cat/a.png'", "2. 'cat/b.png'", "3. 'dog/c.jfif'"]
    assert nothing_is_kept(tmp_path)


@pytest.mark.parametrize("top", ["", "my pictures/", "a/b/"])
def test_an_archive_of_images_becomes_a_folder_of_classes(tmp_path, top):
    archive = packed(pictures(top) | {f"{top}readme.txt": b"hello"})  # whose members bear the time of their packing
    saved = save_images(archive, tmp_path, PUBLIC)
    images = load_images(tmp_path / saved.data)
    assert images.class_names == ("cat", "dog")
    assert len(images) == 10
    assert saved.names == {saved.data: "pictures.zip"}
    assert saved.data.startswith(f"{saved.folder}/")
    assert saved.left_out == "1 .txt"
    assert save_images(archive, tmp_path, PUBLIC) == saved


def test_splits_in_an_archive_stay(tmp_path):
    files = {
        f"all/{split}/{name}": png()
        for split in ("train", "test")
        for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    }
    saved = save_images(packed(files), tmp_path, PUBLIC)
    assert sorted(path.name for path in (tmp_path / saved.data).iterdir()) == ["test", "train"]


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/evil.png", "C:/evil.png", "a\\..\\evil.png"])
def test_a_name_that_leads_outside_is_refused(tmp_path, name):
    archive = packed(pictures() | {name: png()})
    with pytest.raises(DataError, match="must be relative paths inside it"):
        save_images(archive, tmp_path / "studies", PUBLIC)
    assert nothing_is_kept(tmp_path)


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="not links or devices"):
        save_images(Upload("x.zip", file.getvalue()), tmp_path, PUBLIC)
    assert nothing_is_kept(tmp_path)


def test_a_bomb_is_refused_by_its_ratio(tmp_path):
    bomb = packed({"cat/0.png": bytes(20_000_000)})
    assert len(bomb.content) < 50_000
    with pytest.raises(DataError, match="must not unpack to more than 100 times"):
        save_images(bomb, tmp_path, PUBLIC)
    assert nothing_is_kept(tmp_path)


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path):
    honest = packed({"cat/0.png": bytes(20_000_000)}).content
    liar = honest.replace((20_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert liar != honest
    with pytest.raises(DataError):
        save_images(Upload("x.zip", liar), tmp_path, PUBLIC)
    assert nothing_is_kept(tmp_path)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        ({"files": 5}, "at most 5 files; got 10"),
        ({"unpacked_bytes": 500}, "must unpack to at most"),
        ({"upload_bytes": 100}, "must have at most 0 MiB together"),
    ],
)
def test_too_much_is_refused(tmp_path, allowed, words):
    with pytest.raises(DataError, match=words):
        save_images(packed(pictures()), tmp_path, replace(PUBLIC, **allowed))
    assert nothing_is_kept(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [(png(1, 1), "an image"), (b"PK\x03\x04 and then nothing", "whole zip file"), (b"", "something else")],
)
def test_what_is_no_archive_is_refused(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        save_images(Upload("x.zip", content), tmp_path, PUBLIC)
    assert nothing_is_kept(tmp_path)


def test_an_image_of_one_pixel_is_named(tmp_path):
    with pytest.raises(DataError, match=r"'cat/dot.png' must be at least 2 × 2 pixels; got 1 × 1"):
        save_images(packed(pictures() | {"cat/dot.png": png(1, 1)}), tmp_path, PUBLIC)
    assert nothing_is_kept(tmp_path)


def test_what_is_no_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"'cat/bad.png' must be an image"):
        save_images(packed(pictures() | {"cat/bad.png": b"%!PS-Adobe"}), tmp_path, PUBLIC)
    with pytest.raises(DataError, match=r"'cat/bad.png' must be an image; got: the file is empty\."):
        save_images(packed(pictures() | {"cat/bad.png": b""}), tmp_path, PUBLIC)


def test_features_and_labels_are_kept_and_can_be_read(tmp_path):
    rng = np.random.default_rng(0)
    layers = [npy(rng.normal(size=(6, 3)), f"0{place}-layer{place}.npy") for place in (2, 1)]
    saved = save_features(layers, Upload("labels.csv", b"a\nb\na\nb\na\nb\n"), tmp_path, PUBLIC)
    opened = open_features(tmp_path / saved.data, str(tmp_path / saved.labels))
    assert [layer.name for layer in opened.layers] == ["layer1", "layer2"]
    assert opened.labels.tolist() == ["a", "b"] * 3


def test_messages_call_uploaded_files_as_the_visitor_does(tmp_path):
    labels = Upload("My labels.csv", b"a\nb\na\nb\n")
    one = save_features([npy(np.ones((4, 2)), "My layer.npy")], labels, tmp_path, PUBLIC)
    assert one.in_visitors_names(f"column 'y' of ../{one.labels}, '{one.data}'") == (
        "column 'y' of My labels.csv, 'My layer.npy'"
    )
    files = [npy(np.ones((4, 2)), "1.npy"), npy(np.ones((4, 2)), "2.npy")]
    test = [npy(np.ones((6, 2)), "1.npy"), npy(np.ones((6, 2)), "2.npy")]
    several = save_features(files, labels, tmp_path, PUBLIC, test=test)
    assert several.in_visitors_names(f"'../{several.data}/1.npy' and {several.test}/2.npy") == (
        "'features/1.npy' and test_features/2.npy"
    )
    assert several.in_visitors_names(f"../{several.folder}/cache") == "cache"


def test_features_of_test_samples_are_kept_beside_them(tmp_path):
    train, test = npy(np.ones((4, 2)), "conv.npy"), npy(np.zeros((6, 2)), "conv.npy")
    own, theirs = Upload("y.csv", b"a\nb\na\nb\n"), Upload("y.csv", b"a\nb\na\nb\na\nb\n")
    saved = save_features([train], own, tmp_path, PUBLIC, test=[test], test_labels=theirs)
    opened = open_features(tmp_path / saved.data, str(tmp_path / saved.labels))
    others = open_test_features(tmp_path / saved.test, str(tmp_path / saved.test_labels), opened)
    assert [len(opened.labels), len(others.labels)] == [4, 6]
    assert others.layers[0].read().max() == 0


def test_a_file_of_test_samples_is_no_layer_of_the_others(tmp_path):
    first, second = npy(np.ones((4, 2)), "a.npy"), npy(np.ones((4, 2)), "b.npy")
    together = save_features([first, second], None, tmp_path, PUBLIC)
    apart = save_features([first], None, tmp_path, PUBLIC, test=[second])
    assert together.folder != apart.folder
    assert (together.test, together.test_labels, apart.test_labels) == ("", "", "")
    assert apart.test.endswith("b.npy")


def test_test_samples_are_judged_like_the_others(tmp_path):
    with pytest.raises(DataError, match="must be a file of the kind that its name says"):
        save_features([npy(np.ones((4, 2)))], None, tmp_path, PUBLIC, test=[Upload("t.npy", b"no array")])
    assert nothing_is_kept(tmp_path)


def test_one_table_with_its_labels(tmp_path):
    saved = save_features([parquet(pd.DataFrame({"x": [1.0, 2.0], "breed": ["a", "b"]}))], None, tmp_path, PUBLIC)
    assert open_features(tmp_path / saved.data, "breed").labels.tolist() == ["a", "b"]
    assert saved.labels == ""


def test_names_of_the_visitor_are_no_paths(tmp_path):
    saved = save_features([npy(np.ones((4, 2)), "../../evil ä.npy")], None, tmp_path / "studies", PUBLIC)
    assert saved.data.startswith(f"{UPLOADS}/")
    assert (tmp_path / "studies" / saved.data).resolve().is_relative_to((tmp_path / "studies").resolve())


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def truncated() -> Upload:
    whole = npy(np.ones((100, 100)))
    return Upload(whole.name, whole.content[:500])


def npz(**arrays: np.ndarray) -> Upload:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return Upload("layers.npz", file.getvalue())


@pytest.mark.parametrize(
    ("upload", "words"),
    [
        (Upload("layer.npy", pickle.dumps(Evil())), "pickled Python objects"),
        (npy(np.array([Evil()], dtype=object)), "pickled objects"),
        (npz(layer=np.array([Evil()], dtype=object)), "pickled objects"),
        (Upload("layer.npy", png(1, 1)), "got an image"),
        (Upload("layer.parquet", b"PAR1"), "whole Parquet file"),
        (Upload("layer.npz", b"PK\x03\x04"), "whole .npz file"),
        (Upload("layer.npy", b"\x93NUMPY\x01\x00\x05\x00(((((" ), "header cannot be read"),
        (truncated(), "header announces"),
        (npy(np.array(["a", "b"])), "real numbers"),
        (Upload("layer.pkl", pickle.dumps([1])), "must be a file of the kind that its name says"),
    ],
    ids=lambda value: value.name if isinstance(value, Upload) else "",
)  # fmt: skip
def test_features_that_are_none_are_refused(tmp_path, capsys, upload, words):
    with pytest.raises(DataError, match=words):
        save_features([upload], None, tmp_path, PUBLIC)
    assert nothing_is_kept(tmp_path)
    assert capsys.readouterr().out == ""


def test_compressed_arrays_and_tables_that_unpack_to_too_much_are_refused(tmp_path):
    small = replace(PUBLIC, unpacked_bytes=100_000)
    with pytest.raises(DataError, match="must unpack to at most"):
        save_features([npz(layer=np.zeros((1000, 100)))], None, tmp_path, small)
    with pytest.raises(DataError, match="at most 25,000 numbers; got 100,000"):
        save_features([parquet(pd.DataFrame({"x": np.zeros(100_000)}))], None, tmp_path, small)
    assert nothing_is_kept(tmp_path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (Upload("labels.npy", pickle.dumps([1])), "pickled Python objects"),
        (npy(np.array([Evil()], dtype=object), "labels.npy"), "pickled objects"),
        (Upload("labels.txt", b"\0\0"), "must be a file of the kind that its name says"),
        (Upload("labels.exe", b"MZ"), "labels must be a file of"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path, labels, words):
    with pytest.raises(DataError, match=words):
        save_features([npy(np.ones((2, 2)))], labels, tmp_path, PUBLIC)
    assert nothing_is_kept(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match="different names"):
        save_features([npy(np.ones((2, 2))), npy(np.zeros((2, 2)))], None, tmp_path, PUBLIC)


@pytest.mark.parametrize("column", ["/etc/labels.txt", "../log.txt", "log.txt", ".uploads/../x.txt", "b/c"])
def test_a_column_is_never_a_file_of_the_server(tmp_path, column):
    table = parquet(pd.DataFrame({"x": [1.0, 2.0], "breed": ["a", "b"], ".uploads/../x.txt": [1, 2], "b/c": [1, 2]}))
    saved = save_features([table], None, tmp_path, PUBLIC)
    check_column(saved, "breed", tmp_path)
    with pytest.raises(DataError, match="must be a column of the uploaded tables"):
        check_column(saved, column, tmp_path)


def test_arrays_have_no_columns(tmp_path):
    saved = save_features([npy(np.ones((2, 2)))], None, tmp_path, PUBLIC)
    with pytest.raises(DataError, match="no Parquet table"):
        check_column(saved, "labels.txt", tmp_path)
