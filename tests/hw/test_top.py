"""The whole chip on its buses."""

from hw.spec.presets import preset
from hw.top import Top
from tests.support.runner import run_bench


def test_chip_computes_golden_tokens_whatever_the_bus_does():
    run_bench(Top(preset("tiny")), "tests.hw.bench_top", params={"preset": "tiny"})
