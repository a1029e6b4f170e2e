"""Writes a benchmark's table as Parquet and Markdown."""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "results"


def write_report(table: pd.DataFrame, name: str, folder: Path = RESULTS) -> None:
    """Write `name`.parquet and `name`.md; floats with three decimals in the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / f"{name}.parquet")
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in table.to_numpy()]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
