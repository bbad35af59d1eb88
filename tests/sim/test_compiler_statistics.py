import numpy as np

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
