"""The test helpers themselves: green on a right component, red on a wrong one."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tests.bench_support import I_PAIR, O_SUM
from tests.support.bench import pack, unpack
from tests.support.runner import BenchFailed, run_bench


class Adder(wiring.Component):
    """Add the pair; `flaw` names what to get wrong."""

    def __init__(self, flaw=None):
        self.flaw = flaw
        super().__init__({
            "i_pair": In(stream.Signature(I_PAIR)),
            "o_sum": Out(stream.Signature(O_SUM)),
        })

    def elaborate(self, _):
        m = Module()
        taken = self.o_sum.ready | ~self.o_sum.valid
        if self.flaw == "backpressure":
            taken = 1
        m.d.comb += self.i_pair.ready.eq(taken)
        pair = self.i_pair.payload
        with m.If(taken):
            m.d.sync += [
                self.o_sum.valid.eq(self.i_pair.valid),
                self.o_sum.p.data.eq(pair.a + pair.b),
                self.o_sum.p.last.eq(0 if self.flaw == "last" else pair.last),
            ]
        return m


def test_right_component_passes():
    run_bench(Adder(), "tests.bench_support")


@pytest.mark.parametrize(
    ("flaw", "message"),
    [("backpressure", "payload changed"), ("last", r"last is 0, expected 1")],
)
def test_wrong_component_fails(flaw, message):
    with pytest.raises(BenchFailed, match=message) as error:
        run_bench(Adder(flaw), "tests.bench_support")
    assert "waveform: " in str(error.value)


def test_wrong_expectation_fails():
    with pytest.raises(BenchFailed, match=r"transfer 0, cycle \d+: data is -256, expected -255"):
        run_bench(Adder(), "tests.bench_support", params={"error": 1})


def test_unpack_undoes_pack():
    payload = {"a": -128, "b": 127, "last": 1}
    assert unpack(I_PAIR, pack(I_PAIR, payload)) == payload
