"""Bench for `test_harness`."""

import time

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from tests.support.bench import params


@cocotb.test()
async def stub_reads_all_bursts(dut):
    bursts = params()["bursts"]
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    dut.s_axil_bready.value = 1
    dut.s_axil_wdata.value = bursts
    dut.s_axil_awvalid.value = 1
    dut.s_axil_wvalid.value = 1
    await RisingEdge(dut.clk)
    dut.s_axil_awvalid.value = 0
    dut.s_axil_wvalid.value = 0
    began, first = time.perf_counter(), int(dut.cycle.value)
    await RisingEdge(dut.irq)
    cycles = int(dut.cycle.value) - first
    rate = cycles / (time.perf_counter() - began)
    print(f"cycles {cycles}, {rate:.0f} cycles/s, read {int(dut.dram0_bytes_read.value)}")
    assert int(dut.dram0_bytes_read.value) == bursts * 256
    # The address, the latency, and one beat a cycle without a gap.
    assert cycles <= 30 + 16 * bursts * params().get("slack", 1) + 4, cycles
