"""A bench for controllers with a wrong table: traffic that needs every time, and no check."""

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from tests.support.bench import start

BANK_BYTES, ROW_BYTES = 1024, 4096


async def offer(dut, channel, addr, beats):
    size = (len(dut.axi__rdata) // 8).bit_length() - 1
    for name, value in {"addr": addr, "len": beats - 1, "size": size, "burst": 1}.items():
        getattr(dut, f"axi__{channel}{name}").value = value
    getattr(dut, f"axi__{channel}valid").value = 1
    while True:
        taken = int(getattr(dut, f"axi__{channel}ready").value)
        await RisingEdge(dut.clk)
        if taken:
            break
    getattr(dut, f"axi__{channel}valid").value = 0


@cocotb.test()
async def traffic(dut):
    await start(dut)
    await RisingEdge(dut.ready)
    await RisingEdge(dut.clk)
    dut.axi__rready.value = 1
    dut.axi__bready.value = 1
    dut.axi__wvalid.value = 1
    for i in range(40):  # another row of the same bank each time
        await offer(dut, "ar", i * ROW_BYTES, 1)
    for i in range(40):
        await offer(dut, "aw", i * ROW_BYTES + BANK_BYTES, 1)
    dut.axi__arlen.value = 31
    dut.axi__arvalid.value = 1
    await ClockCycles(dut.clk, 12_000)  # the same burst over and over: refreshes are postponed
