"""core.study.blocks and the command that cuts: from the tables of bundled studies."""

import pytest

from core.cli import main
from core.study.blocks import redundant_blocks
from core.study.results import StudyError, load_study
from explorer.data import DEMO


def test_a_block_is_redundant_where_si_does_not_certainly_rise():
    table = redundant_blocks(load_study(DEMO / "dogs"))
    assert (table["redundant"] == (table["low"] <= 0)).all()
    assert table["difference"].to_numpy() == pytest.approx((table["after"] - table["before"]).to_numpy())
    last = table.iloc[-1]
    assert (last["output"], table.iloc[0]["input"]) == ("top_conv", "stem_conv")
    found = table.set_index("block")
    assert not found.loc["block7a", "redundant"]  # from 0.37 to 0.56
    assert found.loc["block1a", "redundant"]  # both at chance
    assert found["parameters_share"].sum() < 1


def test_features_have_no_blocks(tmp_path):
    import numpy as np

    import core

    core.study_from_features({"a": np.arange(8.0)[:, None]}, [0, 0, 1, 1] * 2, out=tmp_path / "made")
    with pytest.raises(StudyError, match="at least two blocks"):
        redundant_blocks(load_study(tmp_path / "made"), split="train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "block9z_add", "--out", "x.keras"], "got 'block9z_add'"),
        (["--layer", "block3b_add", "--out", "x.h5"], "ends in .keras"),
    ],
)
def test_a_cut_that_cannot_be_made_is_told(capsys, tmp_path, monkeypatch, arguments, message):
    study = str(DEMO / "digits")
    monkeypatch.chdir(tmp_path)
    assert main(["cut", study, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
