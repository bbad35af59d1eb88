"""Tests of `hw.weight_streamer`."""

import pytest

from hw.weight_streamer import WeightStreamer
from tests.support.runner import run_bench


@pytest.mark.parametrize(("port_bytes", "word_bytes"), [(4, 4), (4, 16), (16, 4), (16, 16)])
def test_weight_streamer(port_bytes, word_bytes):
    params = {"port_bytes": port_bytes, "word_bytes": word_bytes}
    run_bench(WeightStreamer(**params), "tests.hw.bench_weight_streamer", params=params)


@pytest.mark.parametrize("name", ["port_bytes", "word_bytes"])
def test_widths_must_be_powers_of_two(name):
    widths = {"port_bytes": 4, "word_bytes": 4, name: 12}
    with pytest.raises(ValueError, match=f"{name} must be a power of two, not 12"):
        WeightStreamer(**widths)
