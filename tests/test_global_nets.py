"""Tests of `scripts.global_nets`, on a netlist of a few cells."""

from scripts.global_nets import off_global_nets

RESET, BUFFERED, CONDITION, JOINED = 2, 3, 4, 5


def cell(kind, outputs=(), **connections):
    return {
        "type": kind,
        "port_directions": {port: "output" if port in outputs else "input" for port in connections},
        "connections": {port: [bit] * (bit is not None) for port, bit in connections.items()},
    }


def netlist(*, buffer="DCCA"):
    cells = {
        "buffer": cell(buffer, ("CLKO",), CLKI=RESET, CE="1", CLKO=BUFFERED),
        "join": cell("LUT4", ("Z",), A=BUFFERED, B=CONDITION, C="0", D=None, Z=JOINED),
        "plain": cell("TRELLIS_FF", ("Q",), CLK=9, LSR=BUFFERED, DI=CONDITION, Q=6),
        "joined": cell("TRELLIS_FF", ("Q",), CLK=9, LSR=JOINED, DI=CONDITION, Q=7),
    }
    return {"modules": {"LUT4": {"ports": {}}, "board": {"cells": cells}}}


def test_logic_takes_what_comes_into_the_buffer_and_registers_what_comes_out():
    found = netlist()
    assert off_global_nets(found) == 1
    cells = found["modules"]["board"]["cells"]
    assert cells["join"]["connections"] == {
        "A": [RESET], "B": [CONDITION], "C": ["0"], "D": [], "Z": [JOINED],
    }  # fmt: skip
    assert cells["plain"]["connections"]["LSR"] == [BUFFERED]
    assert cells["buffer"]["connections"] == {"CLKI": [RESET], "CE": ["1"], "CLKO": [BUFFERED]}


def test_without_a_buffer_nothing_changes():
    found = netlist(buffer="OTHER")
    assert off_global_nets(found) == 0
    assert found == netlist(buffer="OTHER")
