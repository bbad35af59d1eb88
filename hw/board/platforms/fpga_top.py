"""The board's top level in its FPGA: clock, reset and pins around `BoardTop`."""

from amaranth.hdl import ClockDomain, ClockSignal, Const, Module
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from hw.board.board_top import LEDS, BoardTop
from hw.board.boards import BAUD
from hw.board.sdram_timing import chip
from hw.ecp5.pll import Pll
from hw.spec.presets import preset

__all__ = ["FpgaTop"]


class FpgaTop(wiring.Component):
    """What becomes the bitstream of a `Board`.

    The SDRAM's clock is the inverse of the chip's: its edges lie in the middle of what the pins'
    registers send. The board's `capture_delay` is these registers, one out and one in, less the
    cycle that a word saves which comes back within the half cycle.

    Parameters
    ----------
    board : Board
        What to build.
    config : ArchConfig
        Of the chip; by default that of the board's preset.

    Raises
    ------
    TypeError, ValueError
        From `BoardTop`; by `elaborate` from `Pll`, if it cannot make the board's clock.
    """

    def __init__(self, board, config=None):
        self._clock_hz = board.clock_hz
        self._top = BoardTop(
            config or preset(board.preset),
            board=board.name,
            clock_hz=board.clock_hz,
            baud=BAUD,
            sdram=chip(board.sdram),
            capture_delay=board.capture_delay,
        )
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.top = top = self._top
        self._clock(m, platform)

        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [top.rx.eq(rx.i), tx.o.eq(top.tx)]
        for index in range(len(LEDS)):
            port = platform.request("led", index, dir="-")
            m.submodules[f"led{index}"] = led = io.Buffer("o", port)
            m.d.comb += led.o.eq(top.leds[index])
        for name in platform.HELD_HIGH:
            m.submodules[name] = held = io.Buffer("o", platform.request(name, 0, dir="-"))
            m.d.comb += held.o.eq(1)
        self._memory(m, platform.request("sdram", 0, dir="-"))
        return m

    def _clock(self, m, platform):
        m.submodules.clk = clk = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.submodules.pll = pll = Pll(
            input_hz=int(platform.default_clk_frequency), output_hz=self._clock_hz
        )
        m.domains.sync = ClockDomain()
        m.submodules.reset = ResetSynchronizer(~pll.locked)
        m.d.comb += [pll.i_clk.eq(clk.i), ClockSignal().eq(pll.o_clk)]

    def _memory(self, m, port):
        pins = self._top.sdram
        # First half of a cycle low, second half high.
        m.submodules.sdram_clk = clk = io.DDRBuffer("o", port.clk)
        m.d.comb += [clk.o[0].eq(0), clk.o[1].eq(Const(1))]
        outputs = {
            "clk_en": pins.cke,
            "cs": ~pins.cs_n,  # the port inverts these
            "ras": ~pins.ras_n,
            "cas": ~pins.cas_n,
            "we": ~pins.we_n,
            "ba": pins.ba,
            "a": pins.a,
            "dqm": pins.dqm,
        }
        for name, value in outputs.items():
            m.submodules[f"sdram_{name}"] = buffer = io.FFBuffer("o", getattr(port, name))
            m.d.comb += buffer.o.eq(value)
        m.submodules.sdram_dq = dq = io.FFBuffer("io", port.dq)
        m.d.comb += [dq.o.eq(pins.dq_out), dq.oe.eq(pins.dq_oe), pins.dq_in.eq(dq.i)]
