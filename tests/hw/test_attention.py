"""Tests of `hw.attention`."""

from hw.attention import Attention
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench

FIELDS = {
    "rows": 4,
    "cols": 4,
    "lanes": 4,
    "port_bytes": 4,
    "max_rows": 8,
    "max_context": 128,
    "page_len": 32,
}


def test_emitted_verilog_keeps_the_order_of_the_work():
    run_bench(
        Attention(ArchConfig(**FIELDS)), "tests.hw.bench_attention", params={"config": FIELDS}
    )
