"""A chip with parity: flipped bits stop it, and the next run, without a reset, is right."""

import pickle
from pathlib import Path

import cocotb
import pytest
from cocotb.triggers import ClockCycles

from hw.spec.csr import ERRORS, STATUS
from sim.device.error import ChipError
from sim.faults.injector import DRAM
from sim.run.inside import connect
from tests.support.bench import params


class Bench:
    def __init__(self, dut, device):
        self.dut, self.device = dut, device
        self.prompt, self.expected = params()["prompt"], params()["tokens"]
        self.targets = params()["targets"]

    async def runs(self):
        """Check that a run writes the right tokens."""
        assert await self.device.generate(self.prompt, len(self.expected)) == self.expected
        status = await self.device.register("status")
        assert status & 1 << STATUS["done"]
        assert not status & 1 << STATUS["error"]
        assert await self.device.register("error_cause") == ERRORS["none"]

    def flips(self, path, row, cycle):
        """Flip a bit of a memory so many cycles from now."""
        dut = self.dut
        dut.fault_target.value = self.targets[path]
        dut.fault_row.value, dut.fault_bit.value, dut.fault_cycle.value = row, 3, cycle
        dut.fault_armed.value = 1

    async def errors(self):
        return await self.device.register("parity_errors")


async def begin(dut):
    dut.fault_armed.value = 0
    dut.fault_target.value = DRAM
    compiled = pickle.loads(Path(params()["compiled"]).read_bytes())
    return Bench(dut, await connect(dut, compiled, params()["image"]))


@cocotb.test()
async def flipped_bit_stops_the_run_and_the_next_is_right(dut):
    bench = await begin(dut)
    await bench.runs()
    assert await bench.errors() == 0
    counted = 0
    for path, row, cycle in params()["flips"]:
        bench.flips(path, row, cycle)
        with pytest.raises(ChipError) as caught:
            await bench.device.generate(bench.prompt, len(bench.expected))
        error = caught.value
        assert error.cause == "memory_parity", str(error)
        assert f"memory {path}" in str(error).replace("_0.", "."), str(error)
        status = await bench.device.register("status")
        assert not status & (1 << STATUS["busy"] | 1 << STATUS["done"])
        now = await bench.errors()
        assert now > counted
        counted = now
        dut.fault_armed.value = 0
        await bench.runs()
        assert await bench.errors() == counted


@cocotb.test()
async def flipped_bit_at_rest_is_swept_away(dut):
    bench = await begin(dut)
    await bench.runs()
    # At rest the ports of this memory read its row 0 over and over.
    bench.flips("core.pages.pages", 0, 1)
    await ClockCycles(dut.clk, 50)
    dut.fault_armed.value = 0
    assert await bench.errors() > 0
    assert not await bench.device.register("status") & 1 << STATUS["error"]
    await bench.runs()
