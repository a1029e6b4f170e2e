"""python -m core measure: every measure of ready-made features; a folder of them becomes a study."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pandas as pd

from core.commands.study import print_study
from core.commands.terminal.arguments import JSON_HELP, add_command, at_least, print_notes
from core.commands.terminal.progress import ProgressLine, add_progress, interrupt_when_terminated, progress_on
from core.data.features import LabelledFeatures, open_features, open_test_features
from core.report.words.small_classes import order_text, small_classes_text
from core.search.neighbors import METRICS
from core.study.costs import product_rate
from core.study.from_features.feature_files import write_feature_study
from core.study.from_features.row_copies import RowCopies
from core.study.from_features.writer import study_samples
from core.study.measuring.all_measures import ACROSS, LEAVE_OUT_SINGLE, FamilyOptions, MeasuredValue, measure_family
from core.study.plan import Progress
from core.study.store.ties import tie_cautions

_NOT_OF_STUDIES = ("order", "permutations", "level", "by_class")


EXAMPLES = (
    "features.npz",
    "features.npy --labels labels.npy --by-class",
    "train.parquet --labels breed --test test.parquet --metric cosine",
    "folder-of-layers --labels labels.npy --out my-study",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "measure", "Measure how ready-made features separate their labels.", EXAMPLES)
    default = {field.name: field.default for field in fields(FamilyOptions)}
    _add_data(parser.add_argument_group("data"))
    _add_measures(parser.add_argument_group("measures"), default)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        metavar="DIR",
        help="Folder to write a study of all layers to, which the explorer opens. Default: values are only printed.",
    )
    output.add_argument("--dry-run", action="store_true", help="Print what would be measured, and stop.")
    output.add_argument("--json", action="store_true", help=JSON_HELP)
    add_progress(output)
    parser.set_defaults(run=run)


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


def _add_measures(group: Any, default: Mapping[str, Any]) -> None:
    group.add_argument(
        "--metric",
        choices=METRICS,
        default=default["metric"],
        help="Distance by which neighbors are near. Default: %(default)s.",
    )
    group.add_argument(
        "--neighbors",
        type=at_least(1),
        default=default["neighbors"],
        metavar="K",
        help="Number of neighbors that vote in kNN; with --out, the number stored for each sample. "
        "Default: %(default)s.",
    )
    group.add_argument(
        "--order",
        type=at_least(1),
        metavar="R",
        help=f"Order of the high-order, soft and anti measures. Default: {default['order']}.",
    )
    group.add_argument(
        "--permutations",
        type=at_least(1, 10_000_000),
        metavar="N",
        help="Number of permutations of the labels behind each p-value. "
        "Default: 9999 where the normal approximation does not hold.",
    )
    group.add_argument(
        "--level", type=float, metavar="P", help=f"Confidence level of the intervals. Default: {default['level']}."
    )
    group.add_argument("--by-class", action="store_true", default=None, help="Print the value of each class, too.")
    group.add_argument(
        "--related-measures",
        action="store_true",
        help="Also compute related separability measures, intrinsic dimension and hubness; with --out, CKA, too.",
    )


def run(options: argparse.Namespace) -> int:
    """Measure and print, or write a study and print it."""
    interrupt_when_terminated()
    train = open_features(options.features, options.labels, options.ids)
    test = _opened_test(options, train)
    notes = (*train.notes, *(() if test is None else test.notes)) if options.progress == "text" else ()
    print_notes(notes)
    if options.dry_run:
        _print_plan(train, test, as_json=options.json)
        return 0
    report = progress_on(sys.stderr, options.progress)
    copies = RowCopies(np.repeat(["train", "test"], [len(train.labels), 0 if test is None else len(test.labels)]))
    try:
        if options.out is not None:
            _refuse_what_studies_fix(options)
            study = write_feature_study(
                train,
                test,
                options.out,
                neighbors=options.neighbors,
                metric=options.metric,
                related_measures=options.related_measures,
                progress=report,
            )
        else:
            found = _measured(train, test, options, report, copies)
    finally:
        report.close()
    if options.out is not None:
        print_study(study, as_json=options.json, printed_notes=notes)
    else:
        _print_results(train, test, found, options, copies.notes())
    return 0


def _print_results(
    train: LabelledFeatures,
    test: LabelledFeatures | None,
    found: dict[str, list[MeasuredValue]],
    options: argparse.Namespace,
    copy_notes: Sequence[str],
) -> None:
    """The values of each layer, and what to beware of."""
    if options.json:
        print(json.dumps([_as_row(layer, value) for layer, values in found.items() for value in values], indent=1))
    else:
        print(_samples_line(train, test))
        _print_tables(found, by_class=bool(options.by_class))
    if options.progress == "text":
        sys.stdout.flush()  # where both go to one place, what is to be said of the tables comes behind them
        said_before = {*train.notes, *(() if test is None else test.notes)}
        class_notes = _class_notes(train, next(iter(found.values())))
        cautions = [*class_notes, *copy_notes, *tie_cautions(_value_rows(found))]
        print_notes([caution for caution in dict.fromkeys(cautions) if caution not in said_before])


def _class_notes(train: LabelledFeatures, values: Sequence[MeasuredValue]) -> list[str]:
    """What the sizes of the classes make of the values, which is the same at each layer."""
    samples = study_samples(train.labels)
    orders = {value.measure: value.order for value in values}
    notes = [
        *samples.cautions(),
        _left_out_text(values, len(train.labels)),
        order_text(samples.frame(), "train", orders["high_order"]),
        small_classes_text(samples.frame(), "train", orders["knn"]),
    ]
    return [note for note in notes if note]


def _left_out_text(values: Sequence[MeasuredValue], num_samples: int) -> str:
    """Which values are over fewer samples than there are, because classes of one sample are left out; "" for none."""
    left_out = [
        f"{value.measure} {value.num_queries:,}"
        for value in values
        if value.measure in LEAVE_OUT_SINGLE and value.num_queries < num_samples
    ]
    if not left_out:
        return ""
    return (
        f"Classes of a single sample are left out where a measure is undefined for them; of {num_samples:,} samples, "
        f"the values are over: {', '.join(left_out)}."
    )


def _value_rows(found: dict[str, list[MeasuredValue]]) -> pd.DataFrame:
    """One row a value: its layer, and the fields of `MeasuredValue`."""
    return pd.DataFrame([{"layer": layer} | asdict(value) for layer, values in found.items() for value in values])


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
    print(f"{len(widths)} layers, of at most {max(widths):,} numbers a sample")


def _opened_test(options: argparse.Namespace, train: LabelledFeatures) -> LabelledFeatures | None:
    """The test samples' features, of the same layers."""
    if options.test is None:
        for name in ("test_labels", "test_ids"):
            if (given := getattr(options, name)) is not None:
                raise ValueError(f"{name.replace('_', '-')} must go with --test; got {given!r} alone. Name both.")
        return None
    return open_test_features(options.test, options.test_labels, train, options.test_ids)


def _refuse_what_studies_fix(options: argparse.Namespace) -> None:
    given = [f"--{name.replace('_', '-')}" for name in _NOT_OF_STUDIES if getattr(options, name) is not None]
    if given:
        raise ValueError(f"out must stand without {', '.join(given)}: a study has fixed ones. Leave one of them out.")


def _measured(
    train: LabelledFeatures,
    test: LabelledFeatures | None,
    options: argparse.Namespace,
    report: ProgressLine,
    copies: RowCopies,
) -> dict[str, list[MeasuredValue]]:
    """The family of each layer, one layer in memory at a time, whose rows `copies` takes in."""
    asked = {name: getattr(options, name) for name in ("order", "neighbors", "metric", "permutations", "level")}
    asked["geometry"] = options.related_measures
    family = FamilyOptions(**{name: value for name, value in asked.items() if value is not None})
    found = {}
    for place, layer in enumerate(train.layers):
        stage = f"measuring {layer.name}"
        features = layer.read()
        test_features = None if test is None else test.layers[place].read()
        found[layer.name] = measure_family(
            features,
            train.labels,
            family,
            test=None if test is None or test_features is None else (test_features, test.labels),
            progress=lambda done, total, stage=stage: report(Progress(stage, done, total, "measures")),  # type: ignore[misc]
        )
        copies.add(*(part for part in (features, test_features) if part is not None))
    return found


def _as_row(layer: str, value: MeasuredValue) -> dict[str, Any]:
    """A value for machines; what is not known is null."""
    row = {"layer": layer} | asdict(value)
    row["by_class"] = {str(label): _or_null(share) for label, share in value.by_class.items()}
    return {name: _or_null(entry) for name, entry in row.items()}


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


def _samples_line(train: LabelledFeatures, test: LabelledFeatures | None) -> str:
    others = "" if test is None else f", {len(test.labels):,} test samples"
    return f"{len(train.labels):,} samples of {len(np.unique(train.labels))} classes{others}"


def _print_tables(found: dict[str, list[MeasuredValue]], *, by_class: bool) -> None:
    for layer, values in found.items():
        print(f"\n{layer}\n{_table(values)}")
        if by_class:
            print(f"\n{_class_table(values)}")


def _table(values: Sequence[MeasuredValue]) -> str:
    frame = pd.DataFrame([asdict(value) for value in values]).drop(columns=["by_class", "num_queries", "num_tied"])
    if (frame["split"] == "train").all():
        frame = frame.drop(columns="split")
    formats = dict.fromkeys(("value", "low", "high", "chance", "excess"), "{:.4f}".format)
    formats |= {"z": "{:.1f}".format, "p_value": "{:.2g}".format}
    return frame.to_string(index=False, formatters=formats, na_rep="–")


def _class_table(values: Sequence[MeasuredValue]) -> str:
    """One row a class, one column a measure."""
    columns = {f"{value.measure}{' (test)' * (value.split == ACROSS)}": dict(value.by_class) for value in values}
    return pd.DataFrame(columns).rename_axis("class").to_string(float_format="{:.4f}".format, na_rep="–")
