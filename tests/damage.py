"""Damaged studies and files, each of one kind, for the tests and for `python -m tests.benchmarks.damage`."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.analysis.cut.blocks import Together
from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import rank_networks
from core.analysis.ranking.ready_features import FeatureFiles
from core.study.measuring.layer_tables import measure_layer
from core.study.samples import MeasureOptions, StudySamples
from core.study.store.tables.schemas import HISTORY as HISTORY_TABLE
from core.study.store.tables.schemas import RANKING_TABLES, TABLES, TRAINING_HISTORY, Table
from core.study.store.writing import begin, end, study_lock, write_json, write_layer
from core.training.recording.epochs import EpochsWriter

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
    """A complete study with every table: two splits, six layers, both poolings, sizes, related measures, projection."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(len(CLASSES)), PER_CLASS), 2)
    count = len(labels)
    ids = tuple(f"{'train' if row < count // 2 else 'test'}/{CLASSES[labels[row]]}/{row}.png" for row in range(count))
    splits = np.array(["train"] * (count // 2) + ["test"] * (count // 2))
    samples = StudySamples(ids, labels, CLASSES, splits, ids)
    options = MeasureOptions(num_neighbors=5, sizes=(9, 12, 18), repeats=2, related_measures=True)
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
            row = _layer_row(position, name, kind, block, shape)
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
    from core.study.measuring.related_measures import with_alignment

    write_layer(folder, position, with_alignment(measure_layer(row, activations, samples, options), folder))


def write_blocks(study: Path) -> Path:
    """What `blocks --verify` would keep beside the small study."""
    row = {"block": "block1a", "output": "block1a_add", "accuracy": 0.5, "change": -0.1, "low": -0.3, "high": 0.1}
    together = Together(("block1a",), 0.01, 0.5, -0.1, -0.3, 0.1)
    content = {"format": 1, "measured": "2026-01-01T00:00:00+00:00", "weights_sha256": "00", "num_test": 24}
    content |= {"data_fingerprint": _fingerprint(study), "accuracy": 0.6, "level": 0.95, "blocks": [row]}
    write_json(study / "blocks.json", content | {"together": asdict(together)})
    return study


def _fingerprint(study: Path) -> Any:
    info = json.loads((study / "study.json").read_text(encoding="utf-8"))
    return info["used"]["data"].get("fingerprint")


def write_small_ranking(folder: Path, files: Path) -> list[str]:
    """A ranking of two networks' features, in two splits and two layers each; the command that makes it again."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
    files.mkdir(parents=True, exist_ok=True)
    features, command = [], ["rank", "--out", str(folder), "--neighbors", "1", "--no-probe"]
    for name, spread in {"good": 0.5, "bad": 9.0}.items():
        paths = {split: str(files / f"{name}-{split}.npz") for split in ("train", "test")}
        for path in paths.values():
            layers = {layer: 5 * np.eye(3)[labels] + spread * rng.normal(size=(len(labels), 3)) for layer in "ab"}
            np.savez(path, labels=labels, **layers)
        features.append(FeatureFiles(name, paths["train"], test=paths["test"]))
        command += ["--features", f"{name}={paths['train']}", "--test", f"{name}={paths['test']}"]
    rank_networks(RankOptions(features=tuple(features), neighbors=1, probe=False), folder)
    return command


def training_writer(folder: Path) -> EpochsWriter:
    """Of the small training, which begins or goes on in this folder."""
    labels = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
    ids = tuple(f"test/{CLASSES[label]}/{row}.png" for row, label in enumerate(labels))
    samples = StudySamples(ids, labels, CLASSES, np.array(["test"] * len(ids)), ids)
    asked = {"num_samples": len(ids), "split": "test", "seed": 0, "every": 1, "budget": None, "pooling": "mean"}
    asked |= {"layers": [name for name, *_ in LAYERS], "neighbors": 5}
    used = {"data": {"name": "pictures", **samples.describe()}, "model": {"name": "net"}, "versions": {"python": "3"}}
    return EpochsWriter(folder, samples, {"asked": asked, "used": used, "cautions": []})


def write_small_training(folder: Path) -> Path:
    """What a callback records: three epochs of six layers, and the history."""
    rng = np.random.default_rng(2)
    writer = training_writer(folder)
    writer.start(0)
    labels = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
    ids = tuple(map(str, range(len(labels))))
    samples = StudySamples(ids, labels, CLASSES, np.array(["test"] * len(ids)), ids)
    options = MeasureOptions(num_neighbors=5, probe=False, projection="none")
    for epoch in range(3):
        tables = []
        for position, (name, kind, block, shape) in enumerate(LAYERS):
            means = epoch * np.eye(3)[labels] + rng.normal(size=(len(labels), 3))
            row = _layer_row(position, name, kind, block, shape)
            tables.append(measure_layer(row, {"mean" if len(shape) > 1 else "flat": means}, samples, options))
        writer.write(epoch, tables)
        reported = {"phase": "head", "loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "seconds": 9.0}
        writer.add_history({"epoch": epoch, "separation_s": 0.1} | (reported if epoch else {}))
    writer.finish()
    return folder


def write_small_fine_tuning(folder: Path, networks: Path, *, stop_after: int | None = None) -> list[str]:
    """A fine-tuning of a tiny network, whole or as an interrupt after some epochs leaves it; the command of it.

    networks : a folder for the network's file.
    """
    import keras

    from core.cli import main
    from core.training import fine_tuning

    networks.mkdir(parents=True, exist_ok=True)
    network = networks / "tiny.keras"
    if not network.exists():
        image = keras.Input((8, 8, 3), name="image")
        x = keras.layers.Rescaling(1 / 255, name="rescaling")(image)
        for name in ("stem_conv", "top_conv"):
            x = keras.layers.Conv2D(4, 3, activation="relu", kernel_initializer="he_normal", name=name)(x)
        keras.Model(image, keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)).save(network)
    recipe = "--unfreeze top_conv --per-class 2 --head-epochs 2 --tail-epochs 1 --batch-size 32 --cache --variants 1"
    command = ["fine-tune", "digits", "--weights", str(network), *recipe.split(), "--out", str(folder)]
    if stop_after is None:
        assert main(command) == 0
        return command
    train, epochs = fine_tuning.train, iter(range(stop_after))

    def stopped(*arguments: Any, report: Callable[[Any], None], **options: Any) -> Any:
        def told(progress: Any) -> None:
            report(progress)
            if progress.result is not None and next(epochs) == stop_after - 1:
                raise KeyboardInterrupt

        return train(*arguments, report=told, **options)

    fine_tuning.train = stopped
    try:
        assert main(command) == 130
    finally:
        fine_tuning.train = train
    return command


def _layer_row(position: int, name: str, kind: str, block: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """A row of the table `layers`."""
    row = {"position": position, "layer": name, "kind": kind, "block": block, "channels": shape[-1]}
    row |= {"parameters": 10 * position, "cumulative_parameters": 10 * position**2}
    row |= {"cumulative_flop": 100 * position**2, "output_shape": list(shape)}
    return row | {"num_features": int(np.prod(shape))}


def study_damages() -> Iterator[Damage]:
    """Every file and column of the small study, each damaged in many ways."""
    for name, table in TABLES.items():
        yield from _file_damages(f"{name}.parquet", optional=name not in ("layers", "samples"))
        for column in table.columns:
            yield from _column_damages(name, column, table)
        yield from _row_damages(name, table)
    yield from _file_damages("study.json", optional=False)
    yield from _file_damages("timing.json", optional=True, noticed=False)
    yield from _json_damages()


def side_file_damages() -> Iterator[Damage]:
    """What is kept beside a study's tables, in timing.json and blocks.json: never more than a loss of these numbers."""
    for file, paths in _SIDE_FIELDS.items():
        yield from _unnoticed(_file_damages(file, optional=True))
        yield from _unnoticed(_field_damages(file, paths))


def ranking_damages() -> Iterator[Damage]:
    """Every file and column of the small ranking, and the studies in it."""
    for name, table in RANKING_TABLES.items():
        yield from _unnoticed(_file_damages(f"{name}.parquet", optional=False))
        for column in table.columns:
            yield from _unnoticed(_column_damages(name, column, table))
        yield from _unnoticed(_row_damages(name, table))
    yield from _unnoticed(_file_damages("ranking.json", optional=False))
    yield from _unnoticed(_field_damages("ranking.json", _RANKING_FIELDS))
    yield from _folder_damages("good")
    for name in ("layers", "samples", "measurements", "neighbors"):
        yield from _unnoticed(_file_damages(f"good/{name}.parquet", optional=True))
    yield from _unnoticed(_file_damages("good/study.json", optional=True))
    yield from _unnoticed(_field_damages("good/study.json", ("state", "format", "asked", "used", "cautions")))


def training_damages() -> Iterator[Damage]:
    """The history of the small training, its epochs, and what study.json says of them."""
    yield from _unnoticed(_file_damages("history.parquet", optional=True))
    for column in HISTORY_TABLE.columns:
        yield from _unnoticed(_column_damages("history", column, HISTORY_TABLE))
    yield from _unnoticed(_row_damages("history", HISTORY_TABLE))
    yield from _unnoticed(_field_damages("study.json", ("training", "training.epochs", "training.finished", "asked")))
    for folder in ("epochs", "epochs/00000", "epochs/00001", "epochs/00002"):
        yield from _folder_damages(folder)
    for epoch in ("epochs/00000", "epochs/00002"):
        for name in ("layers", "samples", "measurements", "neighbors"):
            yield from _unnoticed(_file_damages(f"{epoch}/{name}.parquet", optional=True))
            yield from _unnoticed(_row_damages(f"{epoch}/{name}", TABLES[name]))
        for column in TABLES["measurements"].columns:
            yield from _unnoticed(_column_damages(f"{epoch}/measurements", column, TABLES["measurements"]))
        yield from _unnoticed(_file_damages(f"{epoch}/study.json", optional=True))
    yield Damage("more epochs", lambda folder: (folder / "epochs" / "000000007").mkdir(), noticed=False)


def fine_tuning_damages() -> Iterator[Damage]:
    """The files of a fine-tuning, complete or not; those that it does not have are left alone."""
    yield from _unnoticed(_file_damages("training.json", optional=False))
    yield from _unnoticed(_field_damages("training.json", _FINE_TUNING_FIELDS))
    for file in ("checkpoint.npz", "history.parquet", "head.keras", "final.keras"):
        yield from _unnoticed(_file_damages(file, optional=True))
    for column in TRAINING_HISTORY.columns:
        yield from _unnoticed(_column_damages("history", column, TRAINING_HISTORY))
    for file in ("cache/cut/test/0.npy", "cache/cut/train-1/0.npy", "cache/pooled/test/0.npy"):
        yield from _unnoticed(_file_damages(file, optional=True))
    for folder in ("cache", "cache/cut", "cache/cut/test", "cache/pooled"):
        yield from _folder_damages(folder)


def _unnoticed(damages: Iterator[Damage]) -> Iterator[Damage]:
    """The same, which may pass or be refused; where there is no such file, nothing is damaged."""

    def if_there(apply: Callable[[Path], None], folder: Path) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            apply(folder)

    for damage in damages:
        yield Damage(damage.name, partial(if_there, damage.apply), noticed=False)


def _folder_damages(name: str) -> Iterator[Damage]:
    """What happens to a folder as a whole."""

    def replaced(folder: Path, make: Callable[[Path], object]) -> None:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
            make(folder / name)

    for what, make in {
        "removed": lambda path: None,
        "empty": lambda path: path.mkdir(),
        "a file": lambda path: path.write_bytes(b"x"),
        "a link to itself": lambda path: path.symlink_to(path.name),
    }.items():
        yield Damage(f"{name} {what}", partial(replaced, make=make), noticed=False)


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


def _column_damages(name: str, column: str, table: Table) -> Iterator[Damage]:
    """A column of another type, or with a value that cannot be."""
    declared = table.columns[column]
    kind = declared.type
    text = pa.types.is_dictionary(kind) or pa.types.is_string(kind)
    place = f"{name}.{column}"

    def damage(what: str, change: Callable[[pa.Table], pa.Table], noticed: bool = True) -> Damage:
        return Damage(f"{place} {what}", _edit(name, change), noticed)

    yield damage("dropped", lambda table: table.drop_columns([column]), noticed=True)
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


def _row_damages(name: str, table: Table) -> Iterator[Damage]:
    yield Damage(f"{name} without rows", _edit(name, lambda table: table.slice(0, 0)), noticed=name == "layers")
    yield Damage(f"{name} with rows twice", _edit(name, lambda table: pa.concat_tables([table, table])))
    yield Damage(f"{name} without the first rows", _edit(name, lambda table: table.slice(3)), noticed=False)
    yield Damage(f"{name} with one row", _edit(name, lambda table: table.slice(0, 1)), noticed=False)
    yield Damage(
        f"{name} in reverse", _edit(name, lambda table: table.take(list(range(len(table)))[::-1])), noticed=False
    )
    if "sample" in table.columns:
        beyond = _set("sample", _first(2**31 - 1), pa.int32())
        yield Damage(f"{name}.sample far beyond the samples", _edit(name, beyond))
    if "nearest" in table.columns:
        itself = lambda table: table.set_column(5, "nearest", table["sample"])  # noqa: E731
        yield Damage(f"{name}.nearest the sample itself", _edit(name, itself))


_SIDE_FIELDS = {
    "timing.json": ("seconds", "seconds.stem_conv", "seconds.predictions", "batch_size", "threads", "machine"),
    "blocks.json": (
        *("format", "measured", "weights_sha256", "data_fingerprint", "num_test", "accuracy", "level", "blocks"),
        *("blocks.0", "blocks.0.block", "blocks.0.output", "blocks.0.accuracy", "blocks.0.low", "together"),
        *("together.blocks", "together.accuracy", "together.low"),
    ),
}
_RANKING_FIELDS = (
    *("format", "state", "command", "created", "asked", "asked.layers", "asked.features", "used", "used.data"),
    *("used.features", "used.features.good", "compared", "compared.measure", "compared.split", "compared.chosen_by"),
    *("compared.chosen_in", "compared.pooling", "compared.level", "compared.num_comparisons", "samples"),
    *("samples.test", "num_classes", "timing", "versions", "cautions"),
)
_FINE_TUNING_FIELDS = (
    *("format", "state", "created", "asked", "asked.training", "asked.training.seed", "asked.data", "used"),
    *("used.data", "used.data.fingerprint", "used.model", "used.model.weights_sha256", "used.execution"),
    *("used.kernels", "used.kernels.threads", "used.kernels.instructions", "class_names", "skipped", "notes"),
)
_JSON_VALUES: dict[str, Any] = {
    "null": None,
    "text": "a",
    "odd text": "\ud800<b>\x00",
    "open quote": "a 'b",
    "home of nobody": "~nobody-here/x",
    "long text": "x" * 5000,
    "object of texts": {"integers": "a"},
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
    paths += ["used.data.ignored_files", "used.data.white", "used.data.sources_folder", "used.model.input_size"]
    paths += [
        "used.kernels",
        "used.model.weights",
        "used.versions",
        "used.seed",
        "asked.data",
        "asked.model",
        "asked.weights",
    ]
    paths += ["asked.seed", "asked.sizes", "asked.per_class", "asked.layers", "asked.split", "asked.pooling"]
    yield from _field_damages("study.json", paths)
    for path in ("format", "state"):
        yield Damage(f"study.json without {path}", set_json("study.json", path, ...))
    yield Damage("study.json nested", lambda folder: _write_text(folder, '{"a":' * 100_000 + "1" + "}" * 100_000))
    yield Damage("study.json a list", lambda folder: _write_text(folder, "[]"))
    yield Damage("study.json a number", lambda folder: _write_text(folder, "1e999"))
    yield Damage(
        "study.json bytes", lambda folder: (folder / "study.json").write_bytes(b'{"format":1,"state":"\xff"}') and None
    )


def _write_text(folder: Path, text: str) -> None:
    (folder / "study.json").write_text(text, encoding="utf-8")


def _field_damages(file: str, paths: Iterable[str]) -> Iterator[Damage]:
    """Fields of a JSON file with values of other types, or without a value."""
    for path in paths:
        for kind, value in _JSON_VALUES.items():
            yield Damage(f"{file} {path} {kind}", set_json(file, path, value), noticed=False)
        yield Damage(f"{file} {path} removed", set_json(file, path, ...), noticed=False)


def set_json(file: str, path: str, value: Any) -> Callable[[Path], None]:
    """A field of a JSON file replaced; `...` removes it. A number in the path is a place in a list."""

    def apply(folder: Path) -> None:
        info = json.loads((folder / file).read_text(encoding="utf-8"))
        *parents, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
        inner = info
        for key in parents:
            inner = inner[key]
        if value is not ...:
            inner[last] = value
        elif isinstance(inner, list):
            del inner[last]
        else:
            inner.pop(last, None)
        (folder / file).write_text(json.dumps(info), encoding="utf-8")

    return apply


def damaged_copy(study: Path, damage: Damage, to: Path) -> Path:
    """A copy of a study, damaged."""
    if to.exists():
        shutil.rmtree(to)
    shutil.copytree(study, to)
    damage.apply(to)
    return to
