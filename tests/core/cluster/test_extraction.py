"""Shards of activations hold the bits of a run on one machine, however many passes a worker's memory takes."""

from pathlib import Path

import numpy as np
import pytest

from core.cluster.extraction import Recipe, _network, extract, plan_extraction
from core.network.activations import stream_pass
from core.network.passes import Pass
from core.study.plan import Plan, StudyOptions, plan_study

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture(scope="module")
def plan(images: Path, network_file: str) -> Plan:
    return plan_study(StudyOptions(str(images), None, network_file, "all", pooling="both", batch_size=4, per_class=7))


@pytest.mark.parametrize(("worker_memory", "num_passes"), [(1 << 30, 1), (200_000, 2), (110_000, 4)])
def test_shards_hold_the_activations_of_one_run(plan: Plan, tmp_path: Path, worker_memory: int, num_passes: int):
    assert plan.network is not None
    extraction = plan_extraction(plan, plan.layers, str(tmp_path), num_workers=1, worker_memory=worker_memory)
    assert len(extraction.passes) == num_passes
    assert extraction.rows_per_shard % 4 == 0
    for shards in extraction.shards.values():
        shards.create()
    starts = range(0, len(plan.images), extraction.rows_per_shard)
    for start in starts:
        rows = np.arange(start, min(start + extraction.rows_per_shard, len(plan.images)))
        surveys = extract(extraction, plan.images.select(rows), start)
        assert {found.num_samples for found in surveys.values()} == {len(rows)}
    size, together = plan.network.input_size, Pass(plan.layers, 0)
    expected = stream_pass(
        plan.network,
        together,
        lambda rows: plan.images.load(rows, size),
        len(plan.images),
        poolings=plan.poolings,
        batch_size=4,
    )
    assert expected.keys() == extraction.shards.keys()
    for key, shards in extraction.shards.items():
        np.testing.assert_array_equal(shards.read_all(), expected[key], err_msg=str(key))


def test_enough_tasks_for_all_workers(plan: Plan, tmp_path: Path):
    extraction = plan_extraction(plan, plan.layers, str(tmp_path), num_workers=2, worker_memory=1 << 30)
    assert extraction.rows_per_shard == 4
    assert len(plan.images) == 28


def test_other_weights_on_a_worker_are_refused(plan: Plan):
    recipe = Recipe.of(plan)
    assert recipe is not None
    assert _network(recipe) is _network(recipe)  # loaded once
    with pytest.raises(ValueError, match=r"weights must be the same on all machines"):
        _network(Recipe(recipe.model, recipe.weights, recipe.input_size, recipe.seed, "another"))
