"""The way to a simulated chip: AXI4-Lite on the harness, and memory mapped from a file."""

import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from sim.device.error import DeviceError

__all__ = ["CocotbTransport"]

OKAY = 0
SLOWEST_CYCLES = 1000  # that an access may take


class CocotbTransport:
    """Registers and memory of the chip in a harness.

    Python runs while an access is under way, and sleeps until the interrupt otherwise.

    Parameters
    ----------
    dut : cocotb handle
        The harness.
    image : Path
        The file that the simulated memory is mapped from.

    Attributes
    ----------
    path : Path
        That file.
    """

    def __init__(self, dut, image):
        self._dut = dut
        self.path = image
        self.memory = np.memmap(image, dtype=np.uint8, mode="r+")

    async def reset(self, cycles=4):
        """Reset the chip, and make the bus idle."""
        dut = self._dut
        for name in ("awvalid", "wvalid", "arvalid", "awaddr", "wdata", "wstrb", "araddr"):
            getattr(dut, f"s_axil_{name}").value = 0
        dut.s_axil_bready.value = 1
        dut.s_axil_rready.value = 1
        dut.rst.value = 1
        for _ in range(cycles):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)

    async def read(self, offset):
        """Return a register."""
        dut = self._dut
        dut.s_axil_araddr.value = offset
        dut.s_axil_arvalid.value = 1
        taken = False
        for _ in range(SLOWEST_CYCLES):
            await ReadOnly()
            accepted = not taken and int(dut.s_axil_arready.value)
            answered = int(dut.s_axil_rvalid.value)
            if answered:
                value, resp = int(dut.s_axil_rdata.value), int(dut.s_axil_rresp.value)
            await RisingEdge(dut.clk)
            if accepted:
                taken = True
                dut.s_axil_arvalid.value = 0
            if answered:
                self._check("reading", offset, resp)
                return value
        raise DeviceError(f"reading register {offset:#05x}: no answer")

    async def write(self, offset, value):
        """Write a register."""
        dut = self._dut
        dut.s_axil_awaddr.value = offset
        dut.s_axil_wdata.value = value
        dut.s_axil_wstrb.value = 0xF
        waiting = ["aw", "w"]
        for channel in waiting:
            getattr(dut, f"s_axil_{channel}valid").value = 1
        for _ in range(SLOWEST_CYCLES):
            await ReadOnly()
            accepted = [c for c in waiting if int(getattr(dut, f"s_axil_{c}ready").value)]
            answered = int(dut.s_axil_bvalid.value)
            resp = int(dut.s_axil_bresp.value)
            await RisingEdge(dut.clk)
            for channel in accepted:
                waiting.remove(channel)
                getattr(dut, f"s_axil_{channel}valid").value = 0
            if answered:
                self._check("writing", offset, resp)
                return
        raise DeviceError(f"writing register {offset:#05x}: no answer")

    async def push(self, start, stop):
        """Do nothing: the chip sees ``memory``."""

    async def pull(self, start, stop):
        """Do nothing: ``memory`` is what the chip sees."""

    async def interrupt(self):
        """Return when the interrupt line is high."""
        if not int(self._dut.irq.value):
            await RisingEdge(self._dut.irq)
            await RisingEdge(self._dut.clk)

    @staticmethod
    def _check(what, offset, resp):
        if resp != OKAY:
            raise DeviceError(f"{what} register {offset:#05x}: response {resp}")
