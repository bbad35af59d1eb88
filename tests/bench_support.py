"""Benches for `test_support`."""

import cocotb
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from tests.support.bench import (
    STALLS,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

I_PAIR = data.StructLayout({"a": signed(8), "b": signed(8), "last": unsigned(1)})
O_SUM = data.StructLayout({"data": signed(9), "last": unsigned(1)})
PAIRS = [
    {"a": a, "b": b, "last": int(b == 127)} for a in (-128, -1, 0, 5, 127) for b in (-128, 127)
]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(obeys_rules(dut, "o_sum"))
    sums = [{"data": p["a"] + p["b"] + params().get("error", 0), "last": p["last"]} for p in PAIRS]
    sender = cocotb.start_soon(sends(dut, "i_pair", I_PAIR, PAIRS, stall=STALLS[i_stall]))
    await expects(dut, "o_sum", O_SUM, sums, stall=STALLS[o_stall])
    await sender


@cocotb.test()
async def latency_is_one_and_throughput_one(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i_pair", I_PAIR, PAIRS))
    dut.o_sum__ready.value = 1
    assert await measures(dut, "i_pair", "o_sum", len(PAIRS)) == (1, len(PAIRS))
