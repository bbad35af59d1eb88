"""Tests of `hw.lib.credit_queue`."""

import pytest

from hw.lib.credit_queue import CreditQueue
from tests.hw.free_pipeline import FreePipeline
from tests.support.runner import run_bench


@pytest.mark.parametrize(("width", "stages"), [(8, 1), (8, 14), (5, 15)])
def test_pipeline_that_never_stalls(width, stages):
    params = {"width": width, "stages": stages, "depth": CreditQueue(width, latency=stages).depth}
    run_bench(FreePipeline(width, stages), "tests.hw.bench_credit_queue", params=params)


def test_latency_must_be_positive():
    with pytest.raises(ValueError, match="latency must be positive, not 0"):
        CreditQueue(8, latency=0)


def test_latency_must_be_an_integer():
    with pytest.raises(TypeError, match="latency must be an integer, not 1.5"):
        CreditQueue(8, latency=1.5)
