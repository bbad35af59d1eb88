"""Tests of `hw.lib.collision`, and of what Yosys makes of it."""

import json

import pytest
from amaranth.back import rtlil

from scripts.synth.design import undefined_reads
from scripts.synth.yosys import run_yosys
from tests.hw.colliding_store import CollidingStore
from tests.support.runner import run_bench

TOP = "store"


@pytest.mark.parametrize(("lanes", "depth"), [(1, 2), (4, 5), (3, 16)])
def test_simulators_spoil_undefined_reads(lanes, depth):
    sizes = {"lanes": lanes, "depth": depth}
    run_bench(CollidingStore(**sizes), "tests.hw.bench_collision", params=sizes)


def multiplexers(text, folder):
    """Return how many multiplexers of a bit Yosys puts around the block RAM of a design."""
    folder.mkdir()
    (folder / f"{TOP}.il").write_text(text)
    script = [f"read_rtlil {TOP}.il", f"synth_ecp5 -top {TOP} -run begin:map_luts"]
    run_yosys([*script, "tee -q -o stat.json stat -json"], folder)
    return json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]["$_MUX_"]


def test_block_ram_of_undefined_reads_needs_no_multiplexers(tmp_path):
    lanes = 8
    text = rtlil.convert(CollidingStore(lanes=lanes, depth=512), name=TOP)
    free = undefined_reads(text)
    changed = [
        (before, after)
        for before, after in zip(text.split("\n"), free.split("\n"), strict=True)
        if before != after
    ]
    # Neither the port that shows what is written, nor the memory without the attribute.
    mask = r"    parameter \COLLISION_X_MASK 1'"
    assert changed == [(f"{mask}0", f"{mask}1")]
    needed = multiplexers(text, tmp_path / "old")
    assert multiplexers(free, tmp_path / "free") == needed - 8 * lanes
