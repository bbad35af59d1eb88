"""Tests of `sim.coverage`: what of a simulator's counts is told, and which bits are constant."""

import pytest

from sim.coverage import collect
from sim.coverage.collect import DamagedData
from sim.coverage.constants import constants
from sim.coverage.nets import one_of_each
from sim.coverage.wiring import read

VERILOG = """
module dut(i, out);
  input [1:0] i;
  wire [1:0] i;
  output [5:0] out;
  wire [5:0] out;
  wire [3:0] zero;
  wire [5:0] joined;
  wire [5:0] \\sum$1 ;
  reg [3:0] held = 4'h2;
  reg [3:0] next;
  reg [1:0] moved = 2'h1;
  assign zero = 4'h0;
  always @(posedge i[0])
    held <= next;
  always @(posedge i[0])
    moved <= 2'h2;
  always @* begin
    next = held;
    if (i[1]) begin
      next = { i[0], 3'h2 };
      next[1] = 1'h0;
    end
  end
  assign joined = { 2'h3, i, zero[3:2] };
  assign \\sum$1  = joined + 6'h01;
  \\dut.inner  inner (
    .a(joined),
    .b(out)
  );
endmodule

module \\dut.inner (a, b);
  input [5:0] a;
  wire [5:0] a;
  output [5:0] b;
  wire [5:0] b;
  assign b = a;
endmodule
"""


def test_constants_are_followed_through_wires_and_ports():
    found = constants(read(VERILOG))
    assert found["dut"] == {
        "zero": 0xF,
        "joined": 0b110011,
        "out": 0b110011,
        # Registers: bit 0 is only ever 0, and bit 2 as well; `moved` has moved.
        "held": 0b0101,
        "next": 0b0101,
    }
    assert found["dut.inner"] == {"a": 0b110011, "b": 0b110011}


def test_wire_counts_once_where_it_is_driven():
    modules = read(VERILOG)
    kept = {"dut": {"i", "out", "zero", "joined", "sum$1"}, "dut.inner": {"a", "b"}}
    # `out` is `joined`, through the inner module; its bits 2 to 3 are `i`, 0 to 1 bits of `zero`.
    assert one_of_each(modules, kept, set()) == {
        "dut": {"i": 0x3, "zero": 0xF, "joined": 0x30, "sum$1": 0x3F}
    }


def test_words_of_memories_do_not_count():
    modules = read("module top(a);\n  input a;\n  wire a;\n  reg [7:0] words [3:0];\nendmodule\n")
    assert one_of_each(modules, {"top": {"a", "words[2]"}}, set()) == {"top": {"a": 1}}


def test_wire_that_a_shared_module_drives_counts_where_it_is_used():
    modules = read(
        """
module top(a);
  output [1:0] a;
  wire [1:0] a;
  \\top.shared  shared (
    .b(a)
  );
endmodule

module \\top.shared (b);
  output [1:0] b;
  reg [1:0] b = 2'h0;
endmodule
"""
    )
    kept = {"top": {"a"}, "top.shared": {"b"}}
    assert one_of_each(modules, kept, {"top.shared"}) == {"top": {"a": 3}}
    assert one_of_each(modules, kept, set()) == {"top.shared": {"b": 3}}


def test_bits_with_two_names_count_once():
    signals = {
        "x": (0xFF, 0, 0), "x.a": (0xF, 0, 0), "x.b": (0xF, 0, 0),
        "y": (0xFF, 0, 0), "y.a": (0xF, 0, 0),
        "z": (0xF, 0, 0), "z[0]": (0x3, 0, 0), "z[1]": (0x3, 0, 0), "z[1].c": (0x3, 0, 0),
    }  # fmt: skip
    assert set(collect._not_twice(signals)) == {"x.a", "x.b", "y", "y.a", "z[0]", "z[1].c"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with '# SystemC::Coverage-3'"),
        ("# SystemC::Coverage-3\nnonsense\n", "line 2: must be a point, not 'nonsense'"),
        ("# SystemC::Coverage-3\nC '\1f\2x.v\1l\2one\1t\2line' 1\n", "none of ours"),
    ],
)
def test_damaged_counts_are_refused(text, message, tmp_path):
    path = tmp_path / collect.FILE
    path.write_text(text)
    with pytest.raises(DamagedData, match=message):
        collect.collect(path)
