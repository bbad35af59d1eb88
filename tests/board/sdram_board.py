"""The simulated SDRAM, alone and behind its controller, as components."""

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.board.sdram_controller import SdramController
from hw.board.sdram_pins import SdramPins
from hw.lib.axi import Axi4

__all__ = ["SdramBoard", "SdramChip"]


class SdramChip(wiring.Component):
    """The simulated chip, with its pins and its counters."""

    def __init__(self):
        super().__init__({
            "pins": In(SdramPins()),
            "cycles": Out(64),
            "words_read": Out(64),
            "words_written": Out(64),
        })

    def elaborate(self, platform):
        m = Module()
        pins = self.pins
        inputs = ("cke", "cs_n", "ras_n", "cas_n", "we_n", "ba", "a", "dqm")
        m.submodules.sdram = Instance(
            "sdram",
            i_clk=ClockSignal(),
            **{f"i_{name}": getattr(pins, name) for name in inputs},
            i_dq_write=pins.dq_out,
            i_dq_write_enable=pins.dq_oe,
            o_dq_read=pins.dq_in,
            o_cycles=self.cycles,
            o_words_read=self.words_read,
            o_words_written=self.words_written,
        )
        return m


class SdramBoard(wiring.Component):
    """The controller with the chip. Parameters are those of `SdramController`."""

    def __init__(self, **parameters):
        self.controller = SdramController(**parameters)
        super().__init__({
            "axi": In(Axi4(data_bytes=parameters["data_bytes"])),
            "ready": Out(1),
            "cycles": Out(64),
            "words_read": Out(64),
            "words_written": Out(64),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = self.controller
        m.submodules.chip = chip = SdramChip()
        connect(m, flipped(self.axi), controller.axi)
        connect(m, controller.pins, chip.pins)
        m.d.comb += [
            self.ready.eq(controller.ready),
            self.cycles.eq(chip.cycles),
            self.words_read.eq(chip.words_read),
            self.words_written.eq(chip.words_written),
        ]
        return m
