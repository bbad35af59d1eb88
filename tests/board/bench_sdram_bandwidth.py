"""A bench that measures the share of the SDRAM's pins that streams use."""

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from tests.support.bench import params, start, watchdog

BEATS, WARM_UP, MEASURED = 32, 4_000, 100_000


async def offers(dut, channel):
    """Offer bursts one after the other, without end; wake only when one is taken."""
    ready = getattr(dut, f"axi__{channel}ready")
    width = len(dut.axi__rdata) // 8
    getattr(dut, f"axi__{channel}size").value = width.bit_length() - 1
    getattr(dut, f"axi__{channel}len").value = BEATS - 1
    getattr(dut, f"axi__{channel}burst").value = 1
    getattr(dut, f"axi__{channel}valid").value = 1
    # Reads and writes go through different rows of the same banks.
    addr = 0 if channel == "ar" else 16 << 20
    while True:
        getattr(dut, f"axi__{channel}addr").value = addr
        addr += BEATS * width
        if not int(ready.value):
            await RisingEdge(ready)
        await RisingEdge(dut.clk)


@cocotb.test()
async def streams_fill_the_pins(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 400_000))
    await RisingEdge(dut.ready)
    await RisingEdge(dut.clk)
    for name in ("rready", "bready", "wvalid"):
        getattr(dut, f"axi__{name}").value = 1
    dut.axi__wstrb.value = (1 << len(dut.axi__wstrb)) - 1
    for channel in params()["channels"]:
        cocotb.start_soon(offers(dut, channel))
    await ClockCycles(dut.clk, WARM_UP)

    def moved():
        return int(dut.words_read.value) + int(dut.words_written.value)

    before = moved(), int(dut.cycles.value)
    await ClockCycles(dut.clk, MEASURED)
    share = (moved() - before[0]) / (int(dut.cycles.value) - before[1])
    print(f"share of the pins: {share:.4f}")
    assert share >= params()["least"]
