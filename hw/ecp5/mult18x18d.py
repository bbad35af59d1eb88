"""A signed multiplier of up to 18 by 18 bits with the registers of an ECP5's DSP block."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .device import is_ecp5

__all__ = ["Mult18x18d"]

_OPERAND_WIDTH = 18
_PRODUCT_WIDTH = 36
_REGISTERS = ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")


class Mult18x18d(wiring.Component):
    """Multiply two signed numbers: ``p`` is ``a * b`` of three cycles before.

    On an ECP5 this is one MULT18X18D, with registers at both operands, inside the multiplier, and
    at the product; synthesis never uses these by itself. Elsewhere it is the same in portable
    logic. Registers run freely and are never reset: the four multipliers of a DSP block share
    their enables.

    Parameters
    ----------
    a_width, b_width : int
        Width of the operands, in bits: 1 to 18.
    site : str
        Where to place the cell on an ECP5, such as ``X4/Y10/MULT18_0``; None leaves it open.

    Members
    -------
    a, b : In(signed(a_width)), In(signed(b_width))
        Operands.
    p : Out(signed(a_width + b_width))
        Product.

    Timing
    ------
    From ``a`` and ``b`` to ``p``: :attr:`LATENCY` cycles. Two numbers in every cycle.

    Raises
    ------
    ValueError
        A width is out of range.
    """

    #: Cycles from operands to their product.
    LATENCY = 3

    def __init__(self, *, a_width, b_width, site=None):
        for name, width in (("a_width", a_width), ("b_width", b_width)):
            if not isinstance(width, int) or isinstance(width, bool) or not 1 <= width <= 18:
                raise ValueError(f"{name} must be an integer from 1 to 18, not {width!r}")
        self._site = site
        super().__init__({
            "a": In(signed(a_width)),
            "b": In(signed(b_width)),
            "p": Out(signed(a_width + b_width)),
        })

    def elaborate(self, platform):
        m = Module()
        if is_ecp5(platform):
            m.submodules.cell = self._cell(m)
            return m

        a = Signal.like(self.a, reset_less=True)
        b = Signal.like(self.b, reset_less=True)
        inner = Signal.like(self.p, reset_less=True)
        product = Signal.like(self.p, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), inner.eq(a * b), product.eq(inner)]
        m.d.comb += self.p.eq(product)
        return m

    def _cell(self, m):
        """Return the DSP cell, connected to the ports."""
        a, b = Signal(signed(_OPERAND_WIDTH)), Signal(signed(_OPERAND_WIDTH))
        product = Signal(_PRODUCT_WIDTH)
        m.d.comb += [a.eq(self.a), b.eq(self.b), self.p.eq(product)]
        registers = {}
        for name in _REGISTERS:
            registers[f"p_REG_{name}_CLK"] = "CLK0"
            registers[f"p_REG_{name}_CE"] = "CE0"
            registers[f"p_REG_{name}_RST"] = "RST0"
        return Instance(
            "MULT18X18D",
            **registers,
            **{f"p_CLK{number}_DIV": "ENABLED" for number in range(4)},
            p_GSR="DISABLED",
            p_SOURCEB_MODE="B_SHIFT",
            p_RESETMODE="SYNC",
            p_MULT_BYPASS="DISABLED",
            i_CLK0=ClockSignal(),
            i_CE0=Const(1),
            i_RST0=Const(0),
            i_SIGNEDA=Const(1),
            i_SIGNEDB=Const(1),
            i_SOURCEA=Const(0),
            i_SOURCEB=Const(0),
            **{f"i_A{bit}": a[bit] for bit in range(_OPERAND_WIDTH)},
            **{f"i_B{bit}": b[bit] for bit in range(_OPERAND_WIDTH)},
            **{f"o_P{bit}": product[bit] for bit in range(_PRODUCT_WIDTH)},
            **({"a_BEL": self._site} if self._site else {}),
        )
