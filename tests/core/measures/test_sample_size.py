"""Values over sample size, the curve fitted to them, and the number of queries for a precision."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from core.data.sampling import stratified_subsample
from core.measures.sample_size import FittedCurve, fit_curve, required_queries, subsample_values
from core.measures.separation_index import separation_index
from core.measures.significance import finite_population_n, wilson

SIZES = (25, 50, 100, 200)


def curve_values(asymptote: float, gap: float, rate: float, sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    return asymptote - gap * (np.array(sizes) / sizes[-1]) ** -rate


def noisy_values(repeats: int, *, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    return curve_values(0.9, 0.1, 0.7) + noise * np.random.default_rng(seed).normal(size=(repeats, len(SIZES)))


def test_subsamples_of_five_points_on_a_line():
    line, codes = np.array([[0.0], [1], [3], [10], [11.5]]), np.array([0, 0, 1, 1, 1])
    values = subsample_values(line, codes, [np.array([0, 1]), np.array([0, 1, 2]), np.arange(5), np.array([0, 2, 3])])
    # {0, 1}: both agree. With 3: its nearest is 1, of the other class. All: 3 still misses. {0, 3, 10}: only 10 agrees.
    assert values.tolist() == [1.0, pytest.approx(2 / 3), 0.8, pytest.approx(1 / 3)]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_each_subsample_is_its_own_study(metric):
    rng = np.random.default_rng(3)
    features, codes = rng.normal(size=(60, 4, 2)), rng.integers(3, size=60)
    subsamples = [rng.choice(60, size, replace=False) for size in (10, 30, 60)]
    expected = [separation_index(features[rows], codes[rows], metric=metric).value for rows in subsamples]
    assert subsample_values(features, codes, subsamples, metric=metric).tolist() == expected


def test_subsamples_are_biased_low_and_sampled_queries_are_not():
    features, labels = load_digits(return_X_y=True)
    full = separation_index(features, labels)
    rows = [stratified_subsample([str(i) for i in range(len(labels))], labels, 100, seed=seed) for seed in range(40)]
    assert subsample_values(features, labels, rows).mean() < full.value - 0.05
    assert np.mean([full.by_sample[some].mean() for some in rows]) == pytest.approx(full.value, abs=0.005)


def test_a_row_twice_in_a_subsample_is_refused():
    with pytest.raises(ValueError, match="must not name a row twice"):
        subsample_values(np.arange(4.0)[:, None], np.zeros(4, dtype=int), [np.array([0, 1, 1])])


def test_codes_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"codes must have shape \(4,\)"):
        subsample_values(np.arange(4.0)[:, None], np.zeros(5, dtype=int), [np.arange(3)])


@pytest.mark.parametrize(
    ("asymptote", "gap", "rate"), [(0.95, 0.05, 0.8), (1.0, 0.02, 1.25), (0.4, 0.1, 0.3), (0.8, 0.01, 2.0)]
)
def test_an_exact_curve_is_found_again(asymptote, gap, rate):
    curve = fit_curve(SIZES, [curve_values(asymptote, gap, rate)], num_samples=400)
    assert (curve.asymptote, curve.gap, curve.rate) == pytest.approx((asymptote, gap, rate))
    assert curve.value(1600) == pytest.approx(asymptote - gap * 8**-rate)


@pytest.mark.parametrize(
    "values", [[0.5, 0.51, 0.48, 0.53], [0.3, 0.5, 0.6, 0.62], [0.5, 0.65, 0.8, 0.95], [0.2, 0.9, 0.95, 0.93]]
)
def test_no_other_parameters_fit_better(values):
    """The fit against 20,000 random curves anywhere and around it; a size's mean weighs n/(SI (1 − SI))."""
    curve = fit_curve(SIZES, [values], num_samples=200)
    shrunk = (np.array(values) * 200 + 1) / 202
    rng = np.random.default_rng(0)
    near = np.array([curve.asymptote, curve.gap, curve.rate]) + rng.normal(size=(20_000, 3)) * [0.003, 0.003, 0.05]
    anywhere = rng.uniform(size=(20_000, 3)) * [1, 0.5, 2]
    others = np.clip(np.concatenate([near, anywhere]), [0, 0, 0.01], [1, 9, 2])

    def loss(parameters: np.ndarray) -> np.ndarray:
        asymptote, gap, rate = np.split(parameters, 3, axis=1)
        fitted = asymptote - gap * (np.array(SIZES) / 200) ** -rate
        return (np.array(SIZES) / (shrunk * (1 - shrunk)) * (values - fitted) ** 2).sum(axis=1)

    ours = loss(np.array([[curve.asymptote, curve.gap, curve.rate]]))[0]
    assert ours <= loss(others).min() * 1.001  # the grid of rates


def test_the_asymptote_is_bounded_by_one():
    rising = fit_curve(SIZES, [[0.5, 0.65, 0.8, 0.95]], num_samples=200)  # a line in log n would pass 1
    assert rising.asymptote == 1
    assert rising.value(1600) <= 1
    assert rising.gap > 0


def test_a_falling_curve_is_flat():
    falling = fit_curve(SIZES, [[0.5, 0.45, 0.4, 0.35]], num_samples=200)
    assert falling.gap == 0
    assert falling.value(25) == falling.value(1600) == pytest.approx(0.37, abs=0.02)  # the large sizes weigh more


def test_the_interval_holds_the_value_and_widens_with_distance_and_level():
    curve = fit_curve(SIZES, noisy_values(8), num_samples=400)
    widths = [high - low for low, high in (curve.interval(size) for size in (200, 800, 1600))]
    assert widths == sorted(widths)
    for size in (25, 200, 1600):
        low, high = curve.interval(size)
        wide_low, wide_high = curve.interval(size, 0.99)
        assert 0 <= wide_low < low <= curve.value(size) <= high < wide_high <= 1


def test_equal_repeats_of_all_samples_still_leave_the_error_of_the_pool():
    """Subsamples of all samples are equal, so repeats alone would say that SI is known exactly."""
    values = np.repeat(curve_values(0.9, 0.1, 0.7)[None], 6, axis=0)
    low, high = fit_curve(SIZES, values, num_samples=200).interval(200)
    plain = wilson(0.8, 200)
    assert high - low == pytest.approx(plain[1] - plain[0], rel=0.2)


def test_a_larger_pool_leaves_less_uncertainty():
    widths = []
    for num_samples in (200, 800, 10**6):
        low, high = fit_curve(SIZES, noisy_values(10), num_samples=num_samples).interval(400)
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_subsamples_that_vary_more_than_independent_trials_widen_the_interval():
    calm = fit_curve(SIZES, noisy_values(10, noise=0.01), num_samples=200).interval(200)
    wild = fit_curve(SIZES, noisy_values(10, noise=0.1), num_samples=200).interval(200)
    assert wild[1] - wild[0] > 1.3 * (calm[1] - calm[0])


def test_chains_are_resampled_as_a_whole():
    """Chains that differ only in level: no resample may bend the curve, or the gap would vary."""
    levels = np.linspace(-0.05, 0.05, 6)[:, None]
    curve = fit_curve(SIZES, curve_values(0.7, 0.1, 0.5) + levels, num_samples=10**9)
    assert curve.resampled[:, 0].std() == pytest.approx(levels.std(ddof=1) / np.sqrt(6), rel=0.1)
    assert curve.resampled[:, 1] == pytest.approx(0.1, abs=0.002)


def test_no_samples_missed_is_no_proof():
    curve = fit_curve(SIZES, np.ones((5, 4)), num_samples=200)
    low, high = curve.interval(200)
    assert curve.value(1600) == high == 1
    assert 0.97 < low < 0.998
    assert (curve.resampled[:, 1] >= 0).all()


def test_one_repeat_has_no_interval():
    curve = fit_curve(SIZES, noisy_values(1), num_samples=400)
    assert curve.num_repeats == 1
    assert np.isnan(curve.interval(400)).all()


def test_the_seed_decides():
    first, again, other = (fit_curve(SIZES, noisy_values(5), num_samples=400, seed=seed) for seed in (1, 1, 2))
    assert first.resampled.tolist() == again.resampled.tolist()
    assert first.resampled.tolist() != other.resampled.tolist()
    assert first.value(400) == other.value(400)


def test_digits_pool_of_200_foretells_1600():
    """One pool of the coverage that tests/benchmarks/curve_coverage.py measures."""
    features, labels = load_digits(return_X_y=True)
    pool = stratified_subsample([str(i) for i in range(len(labels))], labels, 200, seed=5)
    ids, codes = [str(i) for i in range(200)], labels[pool]
    values = [
        subsample_values(features[pool], codes, [stratified_subsample(ids, codes, n, seed=seed) for n in SIZES])
        for seed in range(10)
    ]
    low, high = fit_curve(SIZES, values, num_samples=200).interval(1600)
    assert low <= 0.988 <= high
    assert high - low < 0.15


@pytest.fixture
def curve() -> FittedCurve:
    return fit_curve(SIZES, noisy_values(3), num_samples=400)


@pytest.mark.parametrize("ask", [FittedCurve.value, FittedCurve.interval])
@pytest.mark.parametrize(
    ("size", "message"),
    [(1601, "size must be at most 1600, 8 times"), (24, "size must be at least 25"), (np.nan, "size must be at least")],
)
def test_sizes_out_of_reach_are_refused(curve, ask, size, message):
    ask(curve, 1600)
    ask(curve, 25)
    with pytest.raises(ValueError, match=message):
        ask(curve, size)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_out_of_range_is_refused(curve, level):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        curve.interval(200, level)


@pytest.mark.parametrize(
    ("sizes", "values", "message"),
    [
        ((50, 100), [[0.5, 0.6]], "at least 3.*Measure more subsample sizes"),
        ((50, 100, 100), [[0.5, 0.6, 0.6]], "sizes must ascend"),
        ((1, 50, 100), [[0.5, 0.6, 0.6]], "sizes must ascend from at least 2"),
        ((50, 100, 401), [[0.5, 0.6, 0.7]], "num_samples = 400"),
        ((50, 100, 200), [0.5, 0.6, 0.7], r"values must have shape \(repeats, 3\); got \(3,\)"),
        ((50, 100, 200), [[0.5, 0.6]], r"shape \(repeats, 3\)"),
        ((50, 100, 200), np.empty((0, 3)), r"shape \(repeats, 3\)"),
        ((50, 100, 200), [[0.5, 0.6, 70]], "values must be SIs between 0 and 1"),
        ((50, 100, 200), [[0.5, np.nan, 0.7]], "values must be SIs between 0 and 1"),
    ],
)
def test_bad_sizes_and_values_are_refused(sizes, values, message):
    with pytest.raises(ValueError, match=message):
        fit_curve(sizes, values, num_samples=400)


@pytest.mark.parametrize("num_samples", [1, 2, 100, 1200, 9604, 12_000, 1_281_167])
def test_queries_for_one_percentage_point_at_worst(num_samples):
    assert required_queries(0.01, num_samples) == -(-9604 * num_samples // (num_samples + 9604))


@pytest.mark.parametrize(
    ("precision", "options", "expected"),
    [(0.05, {}, 278), (0.05, {"share": 0.9}, 123), (0.05, {"level": 0.99}, 400), (0.4, {}, 7)],
)
def test_required_queries_by_hand(precision, options, expected):
    """N = 1,000: m₀ is 385, 139, 664 and 7; then 385·1000/1385 = 277.98, and 122.04, 399.04, 6.95."""
    assert required_queries(precision, 1000, **options) == expected


def test_the_queries_give_the_precision_and_not_much_more():
    needed = required_queries(0.01, 12_000)

    def half_width(num_queries: int) -> float:
        low, high = wilson(0.5, finite_population_n(num_queries, 12_000))
        return (high - low) / 2

    assert half_width(needed) <= 0.01 < half_width(int(0.99 * needed))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": 0}, "precision must lie between 0 and 0.5"),
        ({"precision": 1}, "precision must lie between 0 and 0.5"),
        ({"share": 1.0}, r"share must .* give \(h \+ 1\)"),
        ({"level": 1.0}, "level must lie between 0 and 1"),
        ({"num_samples": 0}, "num_samples must be at least 1"),
    ],
)
def test_bad_precision_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        required_queries(**{"precision": 0.01, "num_samples": 100} | arguments)
