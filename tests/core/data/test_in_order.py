"""Results in the order of the items, with few of them under way."""

import threading

import pytest

from core.data.in_order import computed_in_order


@pytest.mark.parametrize("num_threads", [1, 3])
def test_results_come_in_order_and_items_are_taken_as_needed(num_threads):
    taken: list[int] = []

    def items():
        for number in range(10):
            taken.append(number)
            yield number

    results = computed_in_order(lambda number: number**2, items(), num_threads, name="square")
    assert next(results) == 0
    assert taken == list(range(num_threads + 1))
    assert list(results) == [number**2 for number in range(1, 10)]


def test_nothing_begins_after_a_failure():
    begun: list[int] = []

    def fail(number):
        begun.append(number)
        if number == 0:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(computed_in_order(fail, range(100), 1, name="fail"))
    assert len(begun) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fail")]


@pytest.mark.parametrize("ending", [ValueError("the file ends"), KeyboardInterrupt("the file ends")])
def test_what_was_computed_comes_before_the_exception_that_ends_the_items(ending):
    def items():
        yield from range(3)
        raise ending

    results = computed_in_order(lambda number: number * 2, items(), 8, name="double")
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(type(ending), match="the file ends"):
        next(results)
