"""The test helpers themselves: green on a right component, red on a wrong one."""

import random

import pytest
from amaranth.hdl import Const, Module, Shape, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.enum import EnumType
from amaranth.lib.wiring import In, Out

from hw.activation_memory import Block
from hw.jobs import Dest
from sim import verilate
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


def test_bench_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setattr(verilate, "BYTECODE", tmp_path)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    run_bench(Adder(), "tests.bench_support")
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pyc")}
    assert [path for path in kept if path.match("tests/bench_support.*pytest*.pyc")]
    run_bench(Adder(), "tests.bench_support")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pyc")} == kept


def test_wrong_expectation_fails():
    with pytest.raises(BenchFailed, match=r"transfer 0, cycle \d+: data is -256, expected -255"):
        run_bench(Adder(), "tests.bench_support", params={"error": 1})


SHAPES = {
    "bits": 7,
    "signed": signed(5),
    "enum": Dest,
    "pair": I_PAIR,
    "struct": Block,
    "array": data.ArrayLayout(signed(3), 5),
    "structs in an array": data.ArrayLayout(I_PAIR, 3),
    "enum and array in a struct": data.StructLayout({"to": Dest, "pairs": data.ArrayLayout(2, 4)}),
}


def random_payload(rng, shape):
    """Return a payload for a shape by looking at it with nothing but Amaranth."""
    if isinstance(shape, data.ArrayLayout):
        return [random_payload(rng, shape.elem_shape) for _ in range(shape.length)]
    if isinstance(shape, EnumType):
        return rng.choice(list(shape)).value
    if isinstance(shape, int | Shape):
        cast = Shape.cast(shape)
        low = -(1 << (cast.width - 1)) if cast.signed else 0
        return rng.randrange(low, low + (1 << cast.width))
    return {name: random_payload(rng, field.shape) for name, field in data.Layout.cast(shape)}


@pytest.mark.parametrize("name", SHAPES)
def test_payloads_have_the_bits_that_amaranth_gives_them(name):
    shape = SHAPES[name]
    rng = random.Random(name)
    for _ in range(50):
        payload = random_payload(rng, shape)
        bits = pack(shape, payload)
        expected = Const.cast(Const(payload, shape)).value
        assert bits == expected & ((1 << Shape.cast(shape).width) - 1), payload
        assert unpack(shape, bits) == payload


def test_numbers_that_do_not_fit_a_payload_are_refused():
    with pytest.raises(ValueError, match="payload 128 does not fit 7 bits"):
        pack(7, 128)
    with pytest.raises(ValueError, match="4 elements do not fit an array of 3"):
        pack(data.ArrayLayout(2, 3), [0] * 4)
    with pytest.raises(ValueError, match="7 is not a valid Dest"):
        pack(SHAPES["enum and array in a struct"], {"to": 7})
    assert pack(7, -64) == 64
    assert pack(I_PAIR, 5) == 5


def test_unpack_undoes_pack():
    payload = {"a": -128, "b": 127, "last": 1}
    assert unpack(I_PAIR, pack(I_PAIR, payload)) == payload
