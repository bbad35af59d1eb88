import numpy as np
import pytest

from sim.compiler.statistics import Statistics


def test_largest_magnitude_of_all_that_was_seen_is_kept():
    statistics = Statistics()
    for x in ([[1.0, -5.0]], [[2.0, 3.0]], [[-1.0, 4.0]]):
        statistics.add("whole", np.array(x))
        statistics.add("channels", np.array(x), per_channel=True)
    assert statistics["whole"] == 5
    assert statistics["channels"].tolist() == [2, 5]


def test_channels_are_the_last_axis():
    statistics = Statistics()
    statistics.add("channels", np.arange(-12, 12).reshape(2, 4, 3), per_channel=True)
    assert statistics["channels"].tolist() == [12, 11, 11]
    squares = [sum(x**2 for x in range(first, 12, 3)) / 8 for first in (-12, -11, -10)]
    assert statistics.mean_square("channels").tolist() == squares


@pytest.mark.parametrize("products", [False, True])
def test_means_are_over_all_rows(products):
    statistics = Statistics(products)
    for x in ([[1.0, -5.0], [2.0, 1.0]], [[3.0, 2.0]]):
        statistics.add("channels", np.array(x), per_channel=True)
    assert statistics.mean_square("channels").tolist() == [14 / 3, 10]
    if products:
        assert statistics.mean_products("channels").tolist() == [[14 / 3, 1], [1, 10]]
