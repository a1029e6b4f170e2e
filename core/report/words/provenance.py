"""What a study says of itself, in words. All of study.json but `format` and `state` may be missing."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from core.network.kernels import recorded_kernels
from core.report.words.formatting import SPLIT_NAMES
from core.study.store.study_json import look_up, seed_of

Info = Mapping[str, Any]
WEIGHTS = {  # as `core fine-tune` names its files
    "none": "untrained",
    "imagenet": "pre-trained on ImageNet",
    "noisy-student": "pre-trained, noisy student",
    "head.keras": "new head",
    "final.keras": "fine-tuned",
}


def caption_parts(info: Info, curves: pd.DataFrame) -> list[str]:
    """In a few words: network, data, numbers of samples, seed."""
    model, weights = look_up(info, "used.model.name"), weights_text(info)
    classes, seed = look_up(info, "used.data.num_classes"), seed_of(info)
    parts = [
        f"{model}, {weights}" if model and weights else model,
        look_up(info, "used.data.name"),
        f"{classes:,} classes" if classes is not None else None,
        sample_counts(curves),
        f"seed {seed}" if seed is not None else None,
    ]
    return [part for part in parts if part]


def known_facts(info: Info, state: str, curves: pd.DataFrame) -> dict[str, str]:
    """Everything that a reader needs to judge the numbers, or to compute them again: label to text.

    curves : of `core.analysis.curves.tidy_curves`.
    """
    seed, skipped = seed_of(info), info.get("skipped") or []
    found = {
        "State": state,
        "Network": look_up(info, "used.model.name"),
        "Weights": look_up(info, "used.model.weights"),
        "Weights, SHA-256": look_up(info, "used.model.weights_sha256"),
        "Data": look_up(info, "used.data.name"),
        "Data, fingerprint": look_up(info, "used.data.fingerprint"),
        "Classes": look_up(info, "used.data.num_classes"),
        "Samples": sample_counts(curves),
        "Per class": look_up(info, "asked.per_class"),
        "Left out": f"{len(skipped):,} unreadable" if skipped else None,
        "Files that are no images": _ignored_files(look_up(info, "used.data.ignored_files")),
        "Neighbors": _neighbors(curves),
        "Sampling": {"full": "every sample is a query", "queries": "sampled queries, all references"}.get(
            next(iter(curves["sampling"]), "")
        ),
        "Ties": "the first of equally near samples counts",
        "Seed": seed,
        "Versions": ", ".join(f"{name} {number}" for name, number in (look_up(info, "used.versions") or {}).items()),
        "Kernels of TensorFlow": recorded_kernels(info),
        "Started": info.get("created"),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def weights_text(info: Info) -> str | None:
    """How the network's weights came about; of a weights file of one's own its name. None where the study is silent.

    info : of any study, also one that cannot be opened, for the list of studies has their names.
    """
    weights = look_up(info, "used.model.weights")
    if not isinstance(weights, str):
        return None
    file = weights.replace("\\", "/").rpartition("/")[2]
    return WEIGHTS.get(file, file)


def sample_counts(curves: pd.DataFrame) -> str:
    """Such as "1,200 training and 1,200 test samples"."""
    rows = curves[curves["samples"] != "cross"]
    counts = rows.groupby("samples", sort=False)["num_queries"].max().sort_index(key=lambda split: split != "train")
    words = [f"{count:,} {SPLIT_NAMES.get(str(split), split)}" for split, count in counts.items()]
    return f"{' and '.join(words)} samples" if words else ""


def _ignored_files(counts: Mapping[str, int] | None) -> str | None:
    """Such as "3 .txt, 1 .csv"; None of a study that had none, or does not say."""
    if not counts:
        return None
    return ", ".join(f"{count:,} {extension or 'without extension'}" for extension, count in counts.items())


def _neighbors(curves: pd.DataFrame) -> str:
    metrics = " and ".join(str(metric) for metric in curves["metric"].unique())
    return f"exact, {metrics} distance; within a split a sample is never its own neighbor" if metrics else ""
