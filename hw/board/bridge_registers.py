"""Reads and writes registers for the debug bridge."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.lib.axi import RESP_OKAY, Axi4Lite

__all__ = ["BridgeRegisters", "register_command"]


def register_command(addr_width):
    """Return the layout of a command: read or write the register at ``addr`` (bytes)."""
    return data.StructLayout({"write": 1, "addr": addr_width, "data": 32})


class BridgeRegisters(wiring.Component):
    """Carry out one command after the other.

    Parameters
    ----------
    addr_width : int
        Width of a register's address.

    Members
    -------
    axil : Out(Axi4Lite(addr_width=addr_width))
        The registers.
    i_command : In(stream.Signature(register_command(addr_width)))
        What to do.
    done : Out(1)
        High for one cycle: it is done.
    error : Out(1)
        ... and the response was not OKAY. Holds with ``done``.
    data : Out(32)
        What was read; holds until the next is.

    Timing
    ------
    The address is on offer one cycle after a command, ``done`` is high one cycle after the
    response. No combinational paths.
    """

    def __init__(self, *, addr_width):
        self.addr_width = addr_width
        super().__init__({
            "axil": Out(Axi4Lite(addr_width=addr_width)),
            "i_command": In(stream.Signature(register_command(addr_width))),
            "done": Out(1),
            "error": Out(1),
            "data": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        axil = self.axil
        command = Signal(register_command(self.addr_width), reset_less=True)
        m.d.comb += [
            axil.awaddr.eq(command.addr),
            axil.araddr.eq(command.addr),
            axil.wdata.eq(command.data),
            axil.wstrb.eq(0b1111),
            axil.bready.eq(1),
            axil.rready.eq(1),
        ]
        m.d.sync += self.done.eq(0)
        for valid, ready in (("awvalid", "awready"), ("wvalid", "wready"), ("arvalid", "arready")):
            with m.If(getattr(axil, ready)):
                m.d.sync += getattr(axil, valid).eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_command.ready.eq(1)
                m.d.sync += command.eq(self.i_command.payload)
                with m.If(self.i_command.valid):
                    write = self.i_command.p.write
                    m.d.sync += [
                        axil.awvalid.eq(write),
                        axil.wvalid.eq(write),
                        axil.arvalid.eq(~write),
                    ]
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(axil.bvalid):
                    m.d.sync += [self.done.eq(1), self.error.eq(axil.bresp != RESP_OKAY)]
                    m.next = "IDLE"
                with m.If(axil.rvalid):
                    m.d.sync += [
                        self.done.eq(1),
                        self.error.eq(axil.rresp != RESP_OKAY),
                        self.data.eq(axil.rdata),
                    ]
                    m.next = "IDLE"
        return m
