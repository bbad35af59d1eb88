"""Intergalaktik ULX4M-LS with an LFE5UM-85F: a module of the form of a Raspberry Pi CM4."""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import LEDResources, SDRAMResource, UARTResource

from hw.ecp5.device import Lfe5u85f

__all__ = ["Ulx4mLsPlatform"]


class Ulx4mLsPlatform(LatticeECP5Platform, Lfe5u85f):
    """The board, with places for the array's multipliers; pins as the maker's file for v004.

    The serial line is that of the module's connector: GPIO 14 and 15, through the carrier board.
    """

    device = "LFE5UM-85F"
    package = "BG381"
    speed = "6"
    default_clk = "clk25"

    #: Outputs that are always 1.
    HELD_HIGH = ()

    resources = [
        Resource("clk25", 0, Pins("G2", dir="i"), Clock(25e6), Attrs(IO_TYPE="LVCMOS33")),
        *LEDResources(
            pins="A3 B3 B2 C3 C2 C1 D1 D3", attrs=Attrs(IO_TYPE="LVCMOS33", DRIVE="4")
        ),
        UARTResource(0, rx="N16", tx="N18", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
        SDRAMResource(
            0,
            clk="L20", cke="J17", cs_n="D20", we_n="E19", ras_n="G16", cas_n="H20",
            ba="J19 L16", dqm="E20 P20",
            a="H16 D19 F16 E18 T19 T18 J16 P18 T20 L19 C20 K19 R20",
            dq="J18 G20 G19 E16 F19 F20 H18 F18 P19 N17 M18 N20 N19 M20 M19 L17",
            attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="NONE", DRIVE="4", SLEWRATE="FAST"),
        ),
    ]  # fmt: skip
    connectors = []
