"""The declared tables of analyses: what fits is returned as it is, what does not is named, all of it at once."""

import pandas as pd
import pytest

from core.analysis.result_tables import OVERLAPS, checked

ROW = {
    "layer": "a",
    "other_layer": "b",
    "position": 0,
    "other_position": 1,
    "value": 0.5,
    "chance": 0.1,
    "z": 2.0,
    "k": 1,
    "num_samples": 10,
}


def overlaps(**changes) -> pd.DataFrame:
    return pd.DataFrame([ROW | changes])


def test_a_table_is_returned_with_its_declared_columns_in_their_order():
    table = overlaps(more=1)[["more", *reversed(ROW)]]
    assert checked(table, OVERLAPS, "overlaps").columns.tolist() == list(ROW)
    assert checked(overlaps(z=float("nan")), OVERLAPS, "overlaps")["z"].isna().all()
    assert checked(overlaps().head(0), OVERLAPS, "overlaps").empty


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (overlaps().drop(columns=["k", "value"]), "have the columns value, k; it has not"),
        (overlaps(value=1.5), "column 'value' must lie in 0 to 1; got 1.5 in row 0"),
        (
            overlaps(layer=None, k=0),
            "column 'layer' must have no gaps; got one in row 0; column 'k' must be at least 1",
        ),
        (overlaps(position="first"), "column 'position' must hold whole numbers"),
        (pd.concat([overlaps(), overlaps()]), "each row must be there once; got layer 'a', other_layer 'b' again"),
    ],
)
def test_what_does_not_fit_is_named(table: pd.DataFrame, message: str):
    with pytest.raises(ValueError, match=rf"the table overlaps must .*{message}"):
        checked(table, OVERLAPS, "overlaps")
