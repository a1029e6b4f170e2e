"""What an exact study costs beside a sampled one, and that a person chooses where that is hours."""

import json
from dataclasses import replace

import numpy as np
import pytest

import core
from core.cli import main
from core.cluster.estimate import cluster_search_cost
from core.measures.sample_size import required_queries
from core.study import exactness
from core.study.costs import Cost, pass_cost, plan_cost
from core.study.engine import LocalEngine
from core.study.exactness import EXACT_HOURS, Choice, choice, refuse_unasked
from core.study.plan import plan_study

OPTIONS = core.StudyOptions("digits", model="pixels", per_class=10, probe=False, projection="none")
LONG = 3600 * EXACT_HOURS * 2e12  # operations: twice the limit at 10¹² a second


@pytest.fixture(scope="module")
def plan():
    return plan_study(OPTIONS)


def cost_by(exact_flop: float, sampled_flop: float):
    return lambda precision: Cost(1e12, exact_flop if precision is None else sampled_flop)


def test_sampled_queries_meet_all_samples_and_each_pair_counts_twice(plan):
    (only,) = plan.passes()
    assert pass_cost(plan, only).search_flop == 200**2 * 64
    asked = required_queries(0.1, 100)
    expected = 2 * asked * 100 * 64  # within train, within test, and from test to train
    assert pass_cost(plan, only, 0.1).search_flop == 3 * expected
    assert plan_cost(plan, 0.1) == pass_cost(plan, only, 0.1)
    assert plan_cost(plan, None, frozenset(["input"])) == Cost(0.0, 0.0)


def test_a_cluster_does_the_same_operations(plan):
    for precision in (None, 0.1):
        found = cluster_search_cost(plan, precision, workers=2, worker_memory=1 << 30)
        assert found.flop == plan_cost(plan, precision).search_flop
        assert found.tasks == 3
        assert found.storage_bytes == 200 * 64 * 4


def test_a_long_search_is_a_choice_of_two(plan):
    found = choice(plan, cost_by(LONG, LONG / 100), lambda: 1e12)
    assert found == Choice(exact_s=(LONG + 5e12) / 1e12, sampled_s=(LONG / 100 + 5e12) / 1e12, precision=0.26)
    assert "8.0 h (--allow-long-search)" in found.sentence()
    assert "about 5 min (unbiased, ± 26 points at 95%: --precision 0.26)" in found.sentence()


def test_a_short_search_is_none_and_a_very_short_one_needs_no_timing(plan):
    assert choice(plan, cost_by(LONG, 0), lambda: 2e12) is None
    assert choice(plan, cost_by(1e12, 0), lambda: pytest.fail("timed")) is None


@pytest.mark.parametrize(("num_samples", "expected"), [(1_281_167, 0.007), (20_000, 0.019), (1000, 0.082)])
def test_the_precision_offered_saves_time(plan, monkeypatch, num_samples, expected):
    """± 0.7 points would ask half of 20,000 samples, and meet as many pairs as an exact search."""
    monkeypatch.setattr(type(plan.samples), "rows", lambda samples, split: range(num_samples))
    found = choice(plan, cost_by(LONG, 1), lambda: 1e12)
    assert found is not None
    assert found.precision == expected
    assert required_queries(expected, num_samples) < num_samples / 8 + 2  # rounded up twice


def test_where_sampling_saves_nothing_it_is_not_praised(plan):
    found = choice(plan, cost_by(LONG, LONG), lambda: 1e12)
    assert found is not None
    assert "sampled queries hardly less" in found.sentence()


@pytest.mark.parametrize("asked", [{"allow_long_search": True}, {"precision": 0.01}])
def test_who_has_chosen_is_not_asked(plan, asked):
    refuse_unasked(replace(plan, options=replace(OPTIONS, **asked)), cost_by(LONG, 1), lambda: pytest.fail("timed"))


def test_who_has_not_is_refused_with_both(plan):
    with pytest.raises(
        ValueError, match=r"more than 4 h; got neither\. .*--precision 0\.26.* 8\.0 h \(--allow-long-search\)\.$"
    ):
        refuse_unasked(plan, cost_by(LONG, 1), lambda: 1e12)
    with pytest.raises(ValueError, match=r"leave --sizes out\.$"):
        refuse_unasked(replace(plan, options=replace(OPTIONS, sizes=(50,))), cost_by(LONG, 1), lambda: 1e12)


def test_both_ways_at_once_are_refused():
    with pytest.raises(ValueError, match="precision and allow_long_search must not be combined"):
        core.StudyOptions("digits", precision=0.1, allow_long_search=True)


def test_a_study_of_hours_is_refused_before_it_starts_and_runs_when_asked_for(tmp_path, plan, monkeypatch):
    monkeypatch.setattr(exactness, "EXACT_HOURS", 1e-12)
    with pytest.raises(ValueError, match="allow_long_search or precision must be chosen"):
        core.run_study(plan, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    asked = replace(OPTIONS, allow_long_search=True)
    study = core.run_study(asked, tmp_path / "study")
    assert "--allow-long-search" in study.info["command"]
    assert "allow_long_search" not in study.info["asked"]  # it is the same study as without
    core.run_study(plan, tmp_path / "study")  # nothing is left that could take hours


class _Workers(LocalEngine):
    """An engine of a known speed that computes nothing."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def product_rate(self) -> float:
        return self._rate

    def work(self, plan, folder):
        pytest.fail("started")


@pytest.mark.parametrize(("rate", "refused"), [(5e8, True), (5e12, False)])
def test_on_a_cluster_its_workers_count(tmp_path, plan, monkeypatch, rate, refused):
    monkeypatch.setattr(exactness, "EXACT_HOURS", 5e-7 / 3600)
    reason, error = (
        ("allow_long_search or precision must be chosen", ValueError) if refused else ("started", pytest.fail.Exception)
    )
    with pytest.raises(error, match=reason):
        core.run_study(plan, tmp_path / "study", engine=_Workers(2 * rate))


def test_sampled_queries_find_what_an_exact_study_finds(tmp_path):
    """Each is asked about all samples: its neighbors are those that it has when all are asked."""
    sampled = core.run_study(replace(OPTIONS, precision=0.1), tmp_path / "sampled")
    exact = core.run_study(OPTIONS, tmp_path / "exact")
    key = ["split", "nearest_split", "sample", "rank"]
    some, every = (study.neighbors.set_index(key)[["nearest", "distance"]] for study in (sampled, exact))
    assert 0 < len(some) < len(every)
    assert np.array_equal(some.to_numpy(), every.loc[some.index].to_numpy())


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_offers_both_and_refuses_nothing(tmp_path, monkeypatch, capsys, as_json):
    monkeypatch.setattr(exactness, "EXACT_HOURS", 1e-12)
    monkeypatch.setattr("core.commands.study_plan.product_rate", lambda: 100.0)
    command = [
        "study",
        "digits",
        "--model",
        "pixels",
        "--per-class",
        "10",
        "--out",
        str(tmp_path / "study"),
        "--dry-run",
    ]
    assert main([*command, *(["--json"] if as_json else [])]) == 0
    out = capsys.readouterr().out
    if as_json:
        offered = json.loads(out)["choice"]
        assert offered["precision"] == 0.26
        assert offered["exact_s"] == 200**2 * 64 / 100
    else:
        assert "takes more than 4 h, so one is to be chosen. SI from sampled queries" in out


def test_a_quick_study_has_nothing_to_choose(tmp_path, capsys):
    assert main(["study", "digits", "--model", "pixels", "--out", str(tmp_path / "study"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choice"] is None
