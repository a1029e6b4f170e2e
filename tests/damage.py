"""Damaged studies and files, each of one kind, for the tests and for `python -m tests.benchmarks.damage`."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.study.measuring import measure_layer
from core.study.samples import MeasureOptions, StudySamples
from core.study.schemas import TABLES
from core.study.writing import begin, end, study_lock, write_json, write_layer

PER_CLASS, CLASSES = 8, ("ant", "bee", "cat")
LAYERS = (
    ("stem_conv", "Conv2D", "stem", (2, 2, 3)),
    ("block1a_conv", "Conv2D", "block1a", (2, 2, 4)),
    ("block1a_add", "Add", "block1a", (2, 2, 4)),
    ("block2a_add", "Add", "block2a", (2, 2, 6)),
    ("avg_pool", "GlobalAveragePooling2D", "avg", (6,)),
    ("predictions", "Dense", "predictions", (3,)),
)


@dataclass(frozen=True)
class Damage:
    """One way to damage a folder.

    name : for people. apply : does it. noticed : whether it must be refused, because what is left cannot be right;
    else it may also pass, as a study with another number in it.
    """

    name: str
    apply: Callable[[Path], None]
    noticed: bool = True


def write_small_study(folder: Path) -> Path:
    """A complete study with every table: two splits, six layers, both poolings, sizes, geometry, projection."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(len(CLASSES)), PER_CLASS), 2)
    count = len(labels)
    ids = tuple(f"{'train' if row < count // 2 else 'test'}/{CLASSES[labels[row]]}/{row}.png" for row in range(count))
    splits = np.array(["train"] * (count // 2) + ["test"] * (count // 2))
    samples = StudySamples(ids, labels, CLASSES, splits, ids)
    options = MeasureOptions(num_neighbors=5, sizes=(9, 12, 18), repeats=2, geometry=True)
    info = {
        "command": "python -m core study pictures --out small",
        "asked": {"data": "pictures", "model": "efficientnet-lite0", "weights": "gone.keras", "layers": "all"}
        | {"pooling": "both", "split": "both", "per_class": None, "neighbors": 5, "seed": 0, "sizes": [9, 12, 18]},
        "used": {
            "data": samples.describe() | {"name": "pictures"},
            "model": {"name": "efficientnet-lite0", "weights": "gone.keras", "weights_sha256": "00"},
            "versions": {"python": "3.11.7"},
        },
        "skipped": [{"id": "train/ant/x.png", "reason": "the file is empty"}],
        "cautions": ["Made up."],
    }
    with study_lock(folder):
        info = begin(folder, info, samples.frame())
        for position, (name, kind, block, shape) in enumerate(LAYERS):
            signal = np.zeros((len(CLASSES), *shape))
            signal[:, ..., :3] += np.eye(3).reshape(3, *(1,) * (len(shape) - 1), 3) * position / 2
            features = signal[labels] + rng.normal(size=(count, *shape))
            flat = features.reshape(count, -1)
            spatial = len(shape) > 1
            activations = {"flat": flat} | ({"mean": features.mean(axis=(1, 2))} if spatial else {})
            row = {"position": position, "layer": name, "kind": kind, "block": block, "channels": shape[-1]}
            row |= {"parameters": 10 * position, "cumulative_parameters": 10 * position**2}
            row |= {"cumulative_flop": 100 * position**2, "output_shape": list(shape), "num_features": flat.shape[1]}
            write_part(folder, position, row, activations, samples, options)
        end(folder, info, complete=True)
    write_json(folder / "timing.json", {"seconds": {name: 0.001 * (1 + at) for at, (name, *_) in enumerate(LAYERS)}})
    return folder


def write_part(
    folder: Path,
    position: int,
    row: dict[str, Any],
    activations: dict[str, Any],
    samples: StudySamples,
    options: MeasureOptions,
) -> None:
    """One layer of a study."""
    from core.study.geometry import with_alignment

    write_layer(folder, position, with_alignment(measure_layer(row, activations, samples, options), folder))


def study_damages() -> Iterator[Damage]:
    """Every file and column of the small study, each damaged in many ways."""
    for name in TABLES:
        yield from _file_damages(f"{name}.parquet", optional=name not in ("layers", "samples"))
        for column in TABLES[name].columns:
            yield from _column_damages(name, column)
        yield from _row_damages(name)
    yield from _file_damages("study.json", optional=False)
    yield from _file_damages("timing.json", optional=True, noticed=False)
    yield from _json_damages()


def file_bytes_damages(content: bytes, *, every: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Truncations, and bytes changed, at regular places of a file."""
    rng = np.random.default_rng(seed)
    yield "nothing", b""
    yield "garbage", bytes(rng.integers(0, 256, 300, dtype=np.uint8))
    for at in range(0, len(content), max(1, len(content) // every)):
        yield f"cut at {at}", content[:at]
        changed = bytearray(content)
        changed[at] ^= int(rng.integers(1, 256))
        yield f"byte {at} changed", bytes(changed)
        block = bytearray(content)
        block[at : at + 8] = b"\xff" * len(block[at : at + 8])
        yield f"bytes from {at} set", bytes(block)


def _file_damages(name: str, *, optional: bool, noticed: bool = True) -> Iterator[Damage]:
    """What happens to a file as a whole. optional : whether the study may be without it."""

    def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
        def apply(folder: Path) -> None:
            (folder / name).unlink()
            make(folder / name)

        return apply

    def changed(kind: str) -> Callable[[Path], None]:
        def apply(folder: Path) -> None:
            content = (folder / name).read_bytes()
            (folder / name).write_bytes(dict(file_bytes_damages(content, every=12))[kind])

        return apply

    def cut(share: float) -> Callable[[Path], None]:
        return lambda folder: (
            (folder / name).write_bytes((folder / name).read_bytes()[: int(share * (folder / name).stat().st_size)])
            and None
        )

    def flipped(share: float) -> Callable[[Path], None]:
        def apply(folder: Path) -> None:
            content = bytearray((folder / name).read_bytes())
            content[int(share * (len(content) - 1))] ^= 0x55
            (folder / name).write_bytes(content)

        return apply

    yield Damage(f"{name} removed", lambda folder: (folder / name).unlink(), noticed=not optional and noticed)
    yield Damage(f"{name} a folder", replaced(lambda path: path.mkdir()), noticed)
    if hasattr(os, "mkfifo"):
        yield Damage(f"{name} a named pipe", replaced(os.mkfifo), noticed)
        yield Damage(
            f"{name} a link to an endless device", replaced(lambda path: path.symlink_to("/dev/zero")), noticed
        )
        yield Damage(f"{name} a link to nothing", replaced(lambda path: path.symlink_to("nothing")), False)
    yield Damage(f"{name} empty", lambda folder: (folder / name).write_bytes(b""), noticed)
    yield Damage(f"{name} garbage", changed("garbage"), noticed)
    for share in (0.1, 0.5, 0.9, 0.99):
        yield Damage(f"{name} cut at {share:.0%}", cut(share), noticed)
    for share in np.linspace(0, 1, 15):
        yield Damage(f"{name} changed at {share:.0%}", flipped(float(share)), noticed=False)


def _edit(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / f"{name}.parquet"
        pq.write_table(change(pq.read_table(path)), path)

    return apply


def _set(
    column: str, values: Callable[[list[Any]], Any], kind: pa.DataType | None = None
) -> Callable[[pa.Table], pa.Table]:
    """A column replaced by one made of its values."""

    def change(table: pa.Table) -> pa.Table:
        made = pa.array(values(table[column].to_pylist()), kind)
        return table.set_column(table.column_names.index(column), column, made)

    return change


def _first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


def _column_damages(name: str, column: str) -> Iterator[Damage]:
    """A column of another type, or with a value that cannot be."""
    declared = TABLES[name].columns[column]
    kind = declared.type
    text = pa.types.is_dictionary(kind) or pa.types.is_string(kind)
    place = f"{name}.{column}"

    def damage(what: str, change: Callable[[pa.Table], pa.Table], noticed: bool = True) -> Damage:
        return Damage(f"{place} {what}", _edit(name, change), noticed)

    yield damage("dropped", lambda table: table.drop_columns([column]), noticed=not declared.added_later)
    yield damage("twice", lambda table: table.append_column(column, table[column]))
    yield damage("null", _set(column, lambda values: [None] * len(values), pa.null()), declared.required)
    yield damage("with a gap", _set(column, _first(None), kind), declared.required)
    yield damage("lists of texts", _set(column, lambda values: [["a"]] * len(values)))
    yield damage("times", _set(column, lambda values: [0] * len(values), pa.timestamp("s")))
    yield damage("bytes", _set(column, lambda values: [b"\xff\xfe"] * len(values), pa.binary()))
    if text:
        yield damage("whole numbers", _set(column, lambda values: list(range(len(values)))))
        free = not declared.choices and not declared.refers_to
        odd = "<script>alert(1)</script>\x00\n\u202e" + 2000 * "é"
        yield damage("an odd text", _set(column, _first(odd), pa.string()), noticed=not free)
        yield damage("an empty text", _set(column, _first(""), pa.string()), noticed=declared.required)
    elif pa.types.is_list(kind):
        yield damage("texts", _set(column, lambda values: ["a"] * len(values)))
        yield damage("with null in a list", _set(column, _first([None]), pa.list_(pa.int32())))
        yield damage("negative in a list", _set(column, _first([-1]), pa.list_(pa.int32())))
        yield damage("empty lists", _set(column, lambda values: [[]] * len(values), kind), noticed=False)
    elif pa.types.is_boolean(kind):
        yield damage("whole numbers", _set(column, lambda values: [int(value) for value in values]))
    else:
        yield damage("texts", _set(column, lambda values: ["a"] * len(values)))
        small = declared.most is not None or pa.types.is_int32(kind)
        yield damage("too large", _set(column, _first(2**62), pa.int64()), noticed=small)
        yield damage("too large, real", _set(column, _first(1e300), pa.float64()), noticed=False)
        yield damage("negative", _set(column, _first(-5), pa.int64()), noticed=declared.least is not None)
        yield damage("not a number", _set(column, _first(float("nan")), pa.float64()), noticed=False)
        yield damage("infinite", _set(column, _first(float("inf")), pa.float64()), noticed=not declared.infinite)
        yield damage("minus infinity", _set(column, _first(float("-inf")), pa.float64()))
        yield damage("all the same", _set(column, lambda values: values[:1] * len(values), kind), noticed=False)
        yield damage("in another order", _set(column, lambda values: values[::-1], kind), noticed=False)


def _row_damages(name: str) -> Iterator[Damage]:
    yield Damage(f"{name} without rows", _edit(name, lambda table: table.slice(0, 0)), noticed=name in ("layers",))
    yield Damage(f"{name} with rows twice", _edit(name, lambda table: pa.concat_tables([table, table])))
    yield Damage(f"{name} without the first rows", _edit(name, lambda table: table.slice(3)), noticed=False)
    yield Damage(f"{name} with one row", _edit(name, lambda table: table.slice(0, 1)), noticed=False)
    yield Damage(
        f"{name} in reverse", _edit(name, lambda table: table.take(list(range(len(table)))[::-1])), noticed=False
    )
    if "sample" in TABLES[name].columns:
        beyond = _set("sample", _first(2**31 - 1), pa.int32())
        yield Damage(f"{name}.sample far beyond the samples", _edit(name, beyond))
    if "nearest" in TABLES[name].columns:
        itself = lambda table: table.set_column(5, "nearest", table["sample"])  # noqa: E731
        yield Damage(f"{name}.nearest the sample itself", _edit(name, itself))


_JSON_VALUES: dict[str, Any] = {
    "null": None,
    "text": "a",
    "odd text": "\ud800<b>\x00",
    "number": 7,
    "huge number": 10**400,
    "real": 0.5,
    "list": [1],
    "list of lists": [[[]]],
    "object": {"a": {"b": []}},
    "true": True,
}


def _json_damages() -> Iterator[Damage]:
    """Each field of study.json with values of other types."""
    paths = ["format", "state", "command", "created", "finished", "skipped", "cautions", "asked", "used", "num_queries"]
    paths += ["used.data", "used.data.name", "used.data.num_classes", "used.model", "used.model.name", "training"]
    paths += ["used.model.weights", "used.versions", "used.seed", "asked.data", "asked.model", "asked.weights"]
    paths += ["asked.seed", "asked.sizes", "asked.per_class", "asked.layers", "asked.split", "asked.pooling"]
    for path in paths:
        for kind, value in _JSON_VALUES.items():
            yield Damage(f"study.json {path} {kind}", _set_json(path, value), noticed=False)
        yield Damage(f"study.json {path} removed", _set_json(path, ...), noticed=path in ("format", "state"))
    yield Damage("study.json nested", lambda folder: _write_text(folder, '{"a":' * 100_000 + "1" + "}" * 100_000))
    yield Damage("study.json a list", lambda folder: _write_text(folder, "[]"))
    yield Damage("study.json a number", lambda folder: _write_text(folder, "1e999"))
    yield Damage(
        "study.json bytes", lambda folder: (folder / "study.json").write_bytes(b'{"format":1,"state":"\xff"}') and None
    )


def _write_text(folder: Path, text: str) -> None:
    (folder / "study.json").write_text(text, encoding="utf-8")


def _set_json(path: str, value: Any) -> Callable[[Path], None]:
    """A field of study.json replaced; `...` removes it."""

    def apply(folder: Path) -> None:
        info = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        *parents, last = path.split(".")
        inner = info
        for key in parents:
            inner = inner[key]
        if value is ...:
            inner.pop(last, None)
        else:
            inner[last] = value
        _write_text(folder, json.dumps(info))

    return apply


def damaged_copy(study: Path, damage: Damage, to: Path) -> Path:
    """A copy of a study, damaged."""
    if to.exists():
        shutil.rmtree(to)
    shutil.copytree(study, to)
    damage.apply(to)
    return to
