"""Tests of `sim.faults`: what is hit, and how a run is judged."""

import pytest

from sim.faults.campaign import judge
from sim.faults.case import KINDS, case_of
from sim.faults.injector import injector
from sim.faults.targets import Target, find_targets

VERILOG = """
module serrano(clk);
  \\serrano.core  core (
    .clk(clk)
  );
  \\serrano.csr  csr (
    .clk(clk)
  );
endmodule

module \\serrano.core (clk);
  reg [8:0] table_of [3:0];
  initial begin
    table_of[0] = 9'h000;
  end
  \\serrano.core.words_out$5  \\words_out$5  (
    .clk(clk)
  );
endmodule

module \\serrano.core.words_out$5 (clk);
  reg [31:0] o__payload = 32'd0;
  reg spare_full = 1'h0;
  reg [3:0] front = 4'h0;
  reg \\$6 ;
  always @(posedge clk)
    o__payload <= \\$5 ;
  always @(posedge clk)
    spare_full <= \\$6 ;
endmodule

module \\serrano.csr (clk);
  reg [63:0] sums [63:0];
  always @(posedge clk) begin
    if (store)
      sums[addr] <= data;
  end
endmodule
"""
CLEAN = {"tokens": [4, 5], "candidates": [[4, 9]]}


def test_memories_and_stream_registers_are_found():
    memories, registers = find_targets(VERILOG)
    assert memories == [
        Target("core.table_of", "core.table_of", 9, 4, table=True),
        Target("csr.sums", "csr.sums", 64, 64),
    ]
    assert [target.protected for target in memories] == [True, False]
    place = "core.words_out"
    assert [(t.path, t.width, t.depth) for t in registers] == [
        (f"{place}.spare_full", 1, 0),
        (f"{place}.o__payload", 32, 0),
    ]
    assert registers[0].reference == "core.\\words_out$5 .spare_full"
    assert not registers[0].protected


def test_injector_flips_one_bit_of_a_row_or_register():
    text = injector([target for group in find_targets(VERILOG) for target in group])
    assert "0: chip.core.table_of[fault_row] <= " in text
    assert "chip.core.table_of[fault_row] ^ (9'(1) << fault_bit);" in text
    assert "3: chip.core.\\words_out$5 .o__payload <= " in text


def cases(numbers, seed=1):
    targets = [target for group in find_targets(VERILOG) for target in group]
    return [case_of(n, seed=seed, targets=targets, cycles=50, spans=((8, 16),)) for n in numbers]


def test_case_follows_from_seed_and_number_alone():
    assert cases([7, 33]) == [cases(range(8))[7], cases(range(40))[33]]
    assert cases(range(20), seed=2) != cases(range(20))


def test_every_kind_of_fault_is_in_twenty_cases():
    made = cases(range(20))
    assert [case.kind for case in made] == list(KINDS)
    assert KINDS.count("memory") * 100 >= 60 * len(KINDS)
    for case in made:
        assert 0 <= case.cycle < 50
        if case.kind == "memory":
            assert (case.where, case.target) == ("core.table_of", 0)
            assert 0 <= case.row < 4
            assert 0 <= case.bit < 9
        if case.kind in ("dram", "dram_ecc"):
            assert 8 <= case.a < 16
            assert case.b.bit_count() == 1
    assert cases([KINDS.index("dram_ecc") + 20])[0].b.bit_count() == 2


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "masked"),
        ({"error": "memory_parity"}, "detected"),
        ({"error": "memory_parity", "tokens": [4], "candidates": None}, "detected"),
        ({"error": "memory_parity", "tokens": [6], "candidates": None}, "silent"),
        ({"tokens": [4, 6]}, "silent"),
        ({"tokens": [4]}, "silent"),
        ({"candidates": [[4, 8]]}, "silent"),
        ({"hang": True, "tokens": [4]}, "hang"),
        ({"corrected": 1}, "corrected"),
        ({"swept": 2}, "corrected"),
    ],
)
def test_run_is_judged(changes, outcome):
    seen = CLEAN | {"error": None, "hang": False, "corrected": 0, "swept": 0}
    assert judge(cases([0])[0], seen | changes, CLEAN) == outcome


def test_run_after_a_reset_counts_as_corrected():
    seen = CLEAN | {"error": None, "hang": False, "corrected": 0, "swept": 0}
    assert judge(cases([KINDS.index("reset")])[0], seen, CLEAN) == "corrected"
