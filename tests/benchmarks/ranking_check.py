"""Whether layers and networks that SI ranks high are those that a linear probe ranks high.

    python -m tests.benchmarks.ranking_check [--dogs explorer/demo/ranking] [--digits FOLDER] [--per-class 30]

Spearman's rank correlation between the SI and the accuracy of a linear probe (trained on the training samples, asked
about the test samples), over the candidate layers of each network and of all of them together, on a ranking of Stanford
Dogs that is there and one of digits that is made here. The interval is Fisher's with the variance of Fieller et al.
(1957), as on the page Compare: no resampling, and a rough guide, for the layers of a network are no independent draws.
Beside it, what the probe reaches at the layer that SI within the training samples chooses, and at the best one.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from core.analysis.layer_properties import rank_correlation
from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import load_ranking, rank_networks
from tests.benchmarks.report import RESULTS, write_report

DOGS = Path(__file__).resolve().parents[2] / "explorer" / "demo" / "ranking"
NETWORKS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
ALL = "all together"


def correlations(data: str, layers: pd.DataFrame) -> Iterator[dict[str, object]]:
    """One row a network and one of all, each with both kinds of SI."""
    parts = {**dict(tuple(layers.groupby("network", sort=False))), ALL: layers}
    for name, rows in parts.items():
        row: dict[str, object] = {"data": data, "network": name, "layers": len(rows)}
        for title, column in {"test to train": "value", "within train": "within"}.items():
            found = rank_correlation(rows[column], rows["linear_probe"])
            row |= {title: found.value, f"{title}, low": found.low, f"{title}, high": found.high}
        chosen = rows.loc[rows["within"].idxmax()]
        best = rows.loc[rows["linear_probe"].idxmax()]
        yield row | {
            "chosen by SI": _place(chosen, name),
            "its probe": float(chosen["linear_probe"]),
            "best by probe": _place(best, name),
            "the best probe": float(best["linear_probe"]),
        }


def _place(row: pd.Series, name: str) -> str:
    return f"{row['network']} {row['layer']}" if name == ALL else str(row["layer"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dogs", type=Path, default=DOGS, help="a ranking")
    parser.add_argument(
        "--digits",
        type=Path,
        default=Path(tempfile.gettempdir()) / "ranking-digits",
        help="where that of digits is made",
    )
    parser.add_argument("--per-class", type=int, default=30, help="digits of each class and split")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    digits = rank_networks(RankOptions("digits", NETWORKS, per_class=options.per_class), options.digits)
    rankings = {"Stanford Dogs": load_ranking(options.dogs), "digits": digits}
    table = pd.DataFrame([row for data, one in rankings.items() for row in correlations(data, one.layers)])
    print(table.to_string(index=False))
    write_report(table, "ranking_check", options.out)


if __name__ == "__main__":
    main()
