"""Tests of `hw.lib.parity_memory` and `hw.lib.parity_inserter`."""

import pytest

from tests.hw.parity_store import ProtectedStore
from tests.support.runner import run_bench

TABLE = [0, 1, 0x80, 0xFF]


@pytest.mark.parametrize(("lane_width", "lanes", "depth"), [(8, 4, 16), (5, 3, 5), (26, 1, 8)])
def test_parity_memory(lane_width, lanes, depth, tmp_path):
    public = tmp_path / "public.vlt"
    public.write_text(
        "`verilator_config\n"
        'public_flat_rw -module "*" -var "words"\npublic_flat_rw -module "*" -var "table"\n'
    )
    sizes = {"lane_width": lane_width, "lanes": lanes, "depth": depth, "table": TABLE}
    run_bench(
        ProtectedStore(**sizes),
        "tests.hw.bench_parity_memory",
        name=f"parity_memory_{lane_width}_{lanes}",
        params=sizes,
        sources=[public],
    )
