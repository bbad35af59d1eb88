"""Puts a signal that thousands of registers hear on a network that reaches the whole device."""

from amaranth.hdl import Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .device import is_ecp5

__all__ = ["GlobalBuffer"]


class GlobalBuffer(wiring.Component):
    """Spread a register's output over the whole device in a fraction of a cycle.

    On an ECP5 this is one DCCA, in front of one of the networks that clocks use. Elsewhere it is a
    wire.

    Members
    -------
    i : In(1)
        Straight from a register: the way to the buffer is long.
    o : Out(1)
        The same.
    """

    i: In(1)
    o: Out(1)

    def elaborate(self, platform):
        m = Module()
        if is_ecp5(platform):
            m.submodules.cell = Instance("DCCA", i_CLKI=self.i, i_CE=Const(1), o_CLKO=self.o)
        else:
            m.d.comb += self.o.eq(self.i)
        return m
