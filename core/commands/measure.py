"""python -m core measure: every measure of ready-made features; a folder of them becomes a study."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from core.commands.study import print_study
from core.commands.terminal.arguments import JSON_HELP, add_command, print_notes
from core.commands.terminal.option_flags import add_options
from core.commands.terminal.progress import (
    LAYERS_STAY,
    add_overwrite,
    add_progress,
    interrupt_when_terminated,
    progress_on,
)
from core.data.features import LabelledFeatures, open_features, open_test_features
from core.data.sampling import counted
from core.report.words.small_classes import order_text, small_classes_text
from core.study.costs import product_rate
from core.study.from_features.feature_files import FeatureValues, measure_feature_files, write_feature_study
from core.study.from_features.options import FEATURE_OPTIONS
from core.study.measuring.unusable import unusable_cautions
from core.study.samples import StudySamples
from core.study.store.tables.ties import has_many_ties, tie_cautions

COLUMNS = (
    "split",
    "measure",
    "order",
    "value",
    "low",
    "high",
    "chance",
    "excess",
    "z",
    "p_value",
    "num_queries",
    "num_tied",
)


EXAMPLES = (
    "features.npz",
    "features.npy --labels labels.npy --by-class",
    "train.parquet --labels breed --test test.parquet --metric cosine",
    "folder-of-layers --labels labels.npy --out my-study",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "measure", "Measure how ready-made features separate their labels.", EXAMPLES)
    _add_data(parser.add_argument_group("data"))
    _add_measures(parser.add_argument_group("measures"))
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        metavar="DIR",
        help="Folder to write a study of all layers to, which the explorer opens. Default: values are only printed.",
    )
    add_overwrite(output, "study")
    output.add_argument("--dry-run", action="store_true", help="Print what would be measured, and stop.")
    output.add_argument("--json", action="store_true", help=JSON_HELP)
    add_progress(output)
    parser.set_defaults(run=run, interrupted=LAYERS_STAY)


def _add_data(group: Any) -> None:
    group.add_argument(
        "features",
        metavar="FEATURES",
        help="Features, one row a sample: an .npy, .npz or .parquet file, or a folder of them, one file a layer.",
    )
    group.add_argument(
        "--labels",
        metavar="COLUMN|FILE",
        help="Labels of the samples: a Parquet column, or an .npy, .txt, .csv[:COLUMN] or .parquet[:COLUMN] file. "
        "Default: the array named labels in an .npz file.",
    )
    group.add_argument(
        "--ids",
        metavar="COLUMN|FILE",
        help="Names of the samples in a study, given as --labels are. Default: numbers.",
    )
    group.add_argument(
        "--test",
        metavar="FEATURES",
        help="Features of test samples, whose neighbors are searched in FEATURES. Default: none.",
    )
    group.add_argument(
        "--test-labels",
        metavar="COLUMN|FILE",
        help="Labels of the test samples. Default: the column given to --labels.",
    )
    group.add_argument(
        "--test-ids", metavar="COLUMN|FILE", help="Names of the test samples. Default: the column given to --ids."
    )


def _add_measures(group: Any) -> None:
    add_options(group, FEATURE_OPTIONS.values())
    group.add_argument("--by-class", action="store_true", help="Print SI of each class, too.")


def run(options: argparse.Namespace) -> int:
    """Measure and print, or write a study and print it."""
    interrupt_when_terminated()
    if options.overwrite and options.out is None:
        raise ValueError("overwrite must go with --out, the folder to replace; got it alone. Name the folder.")
    train = open_features(options.features, options.labels, options.ids)
    test = _opened_test(options, train)
    notes = (*train.notes, *(() if test is None else test.notes)) if options.progress == "text" else ()
    print_notes(notes)
    if options.dry_run:
        _print_plan(train, test, as_json=options.json)
        return 0
    report = progress_on(sys.stderr, options.progress)
    settings = {name: getattr(options, name) for name in FEATURE_OPTIONS}
    try:
        if options.out is not None:
            _refuse_what_studies_hold(options)
            study = write_feature_study(
                train, test, options.out, **settings, progress=report, overwrite=options.overwrite
            )
        else:
            values = measure_feature_files(train, test, **settings, progress=report)
    finally:
        report.close()
    if options.out is not None:
        print_study(study, as_json=options.json, printed_notes=notes)
        return 0
    if options.json:
        print(json.dumps(_rows_for_machines(values), indent=1))
    else:
        print(_samples_line(train, test))
        _print_tables(values, by_class=options.by_class)
    if options.progress == "text":
        sys.stdout.flush()  # where both go to one place, what is to be said of the tables comes behind them
        of_layers = [*unusable_cautions(values.layers), *tie_cautions(values.measurements)]
        cautions = [*_class_notes(values), *values.copy_notes, *of_layers]
        print_notes([caution for caution in dict.fromkeys(cautions) if caution not in notes])
    return 0


def _class_notes(values: FeatureValues) -> list[str]:
    """What the sizes of the classes make of the values, which is the same at each layer."""
    samples, rows = values.samples, values.measurements
    largest = rows.groupby("measure")["order"].max()
    notes = [
        *samples.cautions(),
        _left_out_text(samples, with_centers="center" in largest.index),
        order_text(samples.frame(), "train", int(largest.get("high_order", 1))),
        small_classes_text(samples.frame(), "train", int(largest.get("knn", 0))),
    ]
    return [note for note in notes if note]


def _left_out_text(samples: StudySamples, *, with_centers: bool) -> str:
    """Which values are over fewer samples than there are, because classes of one sample are left out; "" for none."""
    counts = np.bincount(samples.labels[samples.rows("train")])
    num_samples, num_alone = int(counts.sum()), int((counts == 1).sum())
    if num_alone == 0:
        return ""
    measures = "balanced and center are" if with_centers else "balanced is"
    return (
        f"Classes of a single sample are left out where a measure is undefined for them: {measures} over "
        f"{num_samples - num_alone:,} of {num_samples:,} training samples."
    )


def _print_plan(train: LabelledFeatures, test: LabelledFeatures | None, *, as_json: bool) -> None:
    """What would be measured; each layer is read once, so that a broken one is named now."""
    widths = [layer.read()[0].size for layer in train.layers]
    splits = {"train": len(train.labels)} | ({} if test is None else {"test": len(test.labels)})
    samples = sum(splits.values())
    summary = {
        "samples": samples,
        "splits": splits,
        "classes": len(np.unique(train.labels)),
        "layers": [layer.name for layer in train.layers],
        "poolings": ["flat"],
        "notes": [*train.notes, *(() if test is None else test.notes)],
        "passes": [{"layers": 1, "bytes": 4 * samples * width, "search_flop": samples**2 * width} for width in widths],
        "estimated_s": samples**2 * sum(widths) / product_rate(),
    }
    if as_json:
        print(json.dumps(summary, indent=1))
        return
    print(_samples_line(train, test))
    print(f"{counted(len(widths), 'layer')}, of at most {max(widths):,} numbers a sample")


def _opened_test(options: argparse.Namespace, train: LabelledFeatures) -> LabelledFeatures | None:
    """The test samples' features, of the same layers."""
    if options.test is None:
        for name in ("test_labels", "test_ids"):
            if (given := getattr(options, name)) is not None:
                raise ValueError(f"{name.replace('_', '-')} must go with --test; got {given!r} alone. Name both.")
        return None
    return open_test_features(options.test, options.test_labels, train, options.test_ids)


def _refuse_what_studies_hold(options: argparse.Namespace) -> None:
    if options.by_class:
        raise ValueError(
            "out must stand without --by-class: a study holds the values of classes in its table `classes`, and the "
            "explorer shows them. Leave one of them out."
        )


def _samples_line(train: LabelledFeatures, test: LabelledFeatures | None) -> str:
    others = "" if test is None else f", {len(test.labels):,} test samples"
    return f"{len(train.labels):,} samples of {len(np.unique(train.labels))} classes{others}"


def _shown_rows(values: FeatureValues) -> pd.DataFrame:
    """The rows of all layers, those of a layer together; without z and p where many samples are tied."""
    measured = values.measurements.copy()
    measured.loc[has_many_ties(measured), ["z", "p_value"]] = np.nan
    rows = pd.concat([measured, values.related_measures]) if len(values.related_measures) else measured
    names = list(measured["layer"].unique())
    return rows.reindex(columns=["layer", *COLUMNS]).sort_values(
        "layer", key=lambda layer: layer.map(names.index), kind="stable", ignore_index=True
    )


def _rows_for_machines(values: FeatureValues) -> list[dict[str, Any]]:
    """One object a value; what is not known is null. SI and cross SI have their values by class."""
    printed = _shown_rows(values).astype(object)
    rows: list[dict[str, Any]] = printed.where(printed.notna(), None).to_dict("records")  # type: ignore[assignment]
    names = values.samples.class_names
    groups = dict(tuple(values.classes.groupby(["layer", "split", "measure"], sort=False)))
    for row in rows:
        classes = groups.get((row["layer"], row["split"], row["measure"]))
        if classes is not None:
            shares = zip(classes["label"], classes["value"], strict=True)
            row["by_class"] = {names[label]: None if np.isnan(share) else float(share) for label, share in shares}
    return rows


def _print_tables(values: FeatureValues, *, by_class: bool) -> None:
    rows = _shown_rows(values).drop(columns=["num_queries", "num_tied"])
    if (rows["split"] == "train").all():
        rows = rows.drop(columns="split")
    formats: dict[str, Callable[[float], str]] = {}
    formats |= dict.fromkeys(("value", "low", "high", "chance", "excess"), "{:.4f}".format)
    formats |= {"z": "{:.1f}".format, "p_value": _p_text, "order": "{:.0f}".format}
    for layer, table in rows.groupby("layer", sort=False):
        text = table.drop(columns="layer").to_string(index=False, formatters=formats, na_rep="–")
        print(f"\n{layer}\n{text}")
        if by_class:
            print(f"\n{_class_table(values, str(layer))}")


def _p_text(p_value: float) -> str:
    """A p-value; one that is too small for a number is not called 0."""
    return f"{p_value:.2g}" if p_value > 0 else "<1e-300"


def _class_table(values: FeatureValues, layer: str) -> str:
    """SI of each class, one row a class, one column a comparison."""
    rows = values.classes[values.classes["layer"] == layer]
    column = rows["measure"].where(rows["measure"] == "cross", rows["measure"] + ", " + rows["split"])
    columns = {name: part.set_index("label")["value"] for name, part in rows.groupby(column, sort=False)}
    table = pd.DataFrame(columns).sort_index().rename(index=dict(enumerate(values.samples.class_names)))
    table = table.rename_axis("class")
    return table.to_string(float_format="{:.4f}".format, na_rep="–")
