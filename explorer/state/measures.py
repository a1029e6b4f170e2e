"""Which rows of a study's measurements are shown: a measure with its order, of all samples or of drawn ones."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Measure:
    """A measure of the table `measurements`. Its text is what an address says, such as "soft 3".

    name : as in the table. order : how many neighbors of a sample it looks at.
    """

    name: str = "separation"
    order: int = 1

    def __str__(self) -> str:
        return f"{self.name} {self.order}" if self.order > 1 else self.name


@dataclass(frozen=True)
class Sampling:
    """The samples that a measurement is of. Its text is what an address says, such as "subsample 480".

    kind : as in the table. size : how many queries were drawn; None where all samples were asked.
    """

    kind: str = "full"
    size: int | None = None

    def __str__(self) -> str:
        return self.kind if self.size is None else f"{self.kind} {self.size}"


SEPARATION, FULL = Measure(), Sampling()


def stored_measures(family: pd.DataFrame) -> list[Measure]:
    """SI, and the variants in a table with the columns measure and order."""
    variants = family[["measure", "order"]].drop_duplicates()
    return [SEPARATION, *(Measure(str(name), int(order)) for name, order in variants.itertuples(index=False))]


def stored_samplings(subsamples: pd.DataFrame) -> list[Sampling]:
    """All samples, and the drawn ones in a table with the columns sampling and num_queries."""
    drawn = subsamples[["sampling", "num_queries"]].drop_duplicates()
    return [FULL, *(Sampling(str(kind), int(size)) for kind, size in drawn.itertuples(index=False))]
