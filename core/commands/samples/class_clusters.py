"""python -m core class-clusters: classes that run into each other, where they part, and what helps."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.class_clusters.table import class_clusters, find_class_clusters
from core.analysis.samples.selection import LayerSelection
from core.commands.samples.table_command import TableCommand
from core.report.words.classes.clusters import clusters_text, evidence_note, evidence_texts
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    clusters = find_class_clusters(study, selection)
    paragraphs = [clusters_text(clusters, selection.layer)]
    for cluster in clusters[: options.rows]:
        evidence = "\n".join(f"  {text}" for text in evidence_texts(cluster))
        paragraphs.append(f"{', '.join(cluster.classes)}:\n{evidence}")
    paragraphs += [evidence_note(clusters)] if clusters else []
    return "\n\n".join(paragraphs)


COMMAND = TableCommand(
    name="class-clusters",
    summary="List groups of classes that run into each other, where they part, and what the evidence says would help.",
    examples=("my-study", "my-study --layer block5c_add --split train", "my-study --among train --out clusters.csv"),
    make=class_clusters,
    text=_text,
    hidden=(
        *("num_classes", "share", "chance", "excess", "merged_value", "merged_chance", "merged_excess"),
        *("fewer", "fewer_value", "rise_low", "rise_high", "clear_suspects"),
    ),
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
