"""Tests of how Yosys codes the states of our machines."""

import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from scripts.synth.design import recoded_states
from scripts.synth.yosys import run_yosys

STATES = ("IDLE", "ASK", "WAIT", "TAKE", "FINISH")


class Walk(wiring.Component):
    """Go from state to state while ``go`` is high, and light a lamp in each."""

    def __init__(self, *, resets=True):
        self.resets = resets
        super().__init__({"go": In(1), "lamps": Out(len(STATES))})

    def elaborate(self, platform):
        m = Module()
        if not self.resets:
            m.domains.sync = ClockDomain("sync", reset_less=True)
        with m.FSM():
            for number, name in enumerate(STATES):
                with m.State(name):
                    m.d.comb += self.lamps[number].eq(1)
                    with m.If(self.go):
                        m.next = STATES[(number + 1) % len(STATES)]
        return m


def converted(name, **how):
    return rtlil.convert(Walk(**how), name=name)


@pytest.mark.parametrize("recoded", [False, True])
def test_states_have_a_flip_flop_each(tmp_path, recoded):
    text = converted("walk")
    (tmp_path / "walk.il").write_text(recoded_states(text) if recoded else text)
    script = ["read_rtlil walk.il", "synth_ecp5 -top walk", "tee -q -o stat.json stat -json"]
    run_yosys(script, tmp_path)
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert cells["TRELLIS_FF"] == (len(STATES) if recoded else (len(STATES) - 1).bit_length())


def test_recoded_states_are_equal_from_reset_on(tmp_path):
    (tmp_path / "old.il").write_text(converted("old"))
    (tmp_path / "new.il").write_text(recoded_states(converted("new")))
    run_yosys(
        [
            "read_rtlil old.il",
            "read_rtlil new.il",
            "proc",
            "opt -nodffe -nosdff",
            "fsm",
            "opt",
            "setattr -unset init w:*",
            "miter -equiv -flatten old new both",
            # Whatever they power up with; equal in all cycles after the one of reset.
            "sat -verify -tempinduct -seq 2 -set-at 1 in_rst 1 -prove trigger 0 both",
        ],
        tmp_path,
    )


def test_a_state_without_reset_keeps_its_initial_value():
    text = converted("walk", resets=False)
    assert r"wire width 3 \fsm_state" in text
    assert recoded_states(text) == text
