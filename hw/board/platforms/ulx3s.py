"""Radiona ULX3S with an LFE5U-85F."""

from amaranth.build import Attrs, Pins, Resource
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from hw.ecp5.device import Lfe5u85f

__all__ = ["Ulx3sPlatform"]


class Ulx3sPlatform(ULX3S_85F_Platform, Lfe5u85f):
    """The board, with places for the array's multipliers.

    The serial line is that of the FTDI chip on the socket US1.
    """

    #: Outputs that are always 1.
    HELD_HIGH = ("wifi_gpio0",)

    # The ESP32 watches this pin, and takes the board over when it is low.
    resources = [
        *ULX3S_85F_Platform.resources,
        Resource("wifi_gpio0", 0, Pins("L2", dir="o"), Attrs(IO_TYPE="LVCMOS33")),
    ]
