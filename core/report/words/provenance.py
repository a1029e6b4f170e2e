"""Describe the origin of a study in words. All fields of study.json except `format` and `state` may be missing."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from core.network.kernels import recorded_kernels
from core.report.words.formatting import SPLIT_NAMES
from core.study.store.study_json import look_up, seed_of

Info = Mapping[str, Any]
WEIGHTS = {  # names of weights, and of the files that `core fine-tune` writes
    "none": "untrained",
    "imagenet": "pre-trained on ImageNet",
    "noisy-student": "pre-trained, noisy student",
    "head.keras": "new head",
    "final.keras": "fine-tuned",
}


def caption_parts(info: Info, curves: pd.DataFrame) -> list[str]:
    """Return network, data, number of classes and samples, and seed, as far as they are known."""
    model, weights = look_up(info, "used.model.name"), weights_text(info)
    num_classes, seed = look_up(info, "used.data.num_classes"), seed_of(info)
    parts = [f"{model}, {weights}" if model and weights else model, look_up(info, "used.data.name")]
    if num_classes is not None:
        parts.append(f"{num_classes:,} classes")
    parts.append(sample_counts(curves))
    if seed is not None:
        parts.append(f"seed {seed}")
    return [part for part in parts if part]


def known_facts(info: Info, state: str, curves: pd.DataFrame) -> dict[str, str]:
    """Return all facts that are needed to interpret the numbers or to compute them again, from a label to its text.

    Parameters
    ----------
    info : mapping
        The content of study.json.
    state : str
        "complete", "running" or "partial".
    curves : DataFrame
        As returned by `core.analysis.curves.tidy_curves`.
    """
    seed, skipped = seed_of(info), info.get("skipped") or []
    sampling = {"full": "every sample is a query", "queries": "sampled queries, all references"}
    versions = look_up(info, "used.versions") or {}
    facts = {
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
        "Files that are not images": _ignored_files(look_up(info, "used.data.ignored_files")),
        "Neighbors": _neighbors(curves),
        "Sampling": sampling.get(next(iter(curves["sampling"]), "")),
        "Ties": "the first of equally near samples counts",
        "Seed": seed,
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Kernels of TensorFlow": recorded_kernels(info),
        "Started": info.get("created"),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def weights_text(info: Info) -> str | None:
    """Return the origin of the network's weights, or the name of a weights file; None where the study has none.

    Parameters
    ----------
    info : mapping
        The content of study.json; the study itself need not be readable.
    """
    weights = look_up(info, "used.model.weights")
    if not isinstance(weights, str):
        return None
    file = weights.replace("\\", "/").rpartition("/")[2]
    return WEIGHTS.get(file, file)


def sample_counts(curves: pd.DataFrame) -> str:
    """Return the numbers of samples, such as "1,200 training and 1,200 test samples"; "" for no curves."""
    rows = curves[curves["samples"] != "cross"]
    counts = rows.groupby("samples", sort=False)["num_queries"].max().sort_index(key=lambda split: split != "train")
    parts = [f"{count:,} {SPLIT_NAMES.get(str(split), split)}" for split, count in counts.items()]
    return f"{' and '.join(parts)} samples" if parts else ""


def _ignored_files(counts: Mapping[str, int] | None) -> str | None:
    """Such as "3 .txt, 1 .csv"; None where there were none, or the study does not record them."""
    if not counts:
        return None
    return ", ".join(f"{count:,} {extension or 'without extension'}" for extension, count in counts.items())


def _neighbors(curves: pd.DataFrame) -> str:
    metrics = " and ".join(str(metric) for metric in curves["metric"].unique())
    return f"exact, {metrics} distance; within a split a sample is never its own neighbor" if metrics else ""
