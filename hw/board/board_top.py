"""The chip with all that a board gives it: memory, a serial line, lamps."""

from amaranth.hdl import Cat, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.board.bridge import Bridge
from hw.board.memory_share import MemoryShare
from hw.board.sdram_controller import SdramController
from hw.board.sdram_pins import SdramPins
from hw.board.sdram_timing import timing
from hw.board.uart import Uart
from hw.lib.axi import Axi4, Axi4Lite
from hw.lib.reset_domain import add_reset_domain
from hw.spec.bridge import VERSION, config_digest
from hw.top import Top

__all__ = ["LEDS", "BoardTop"]

#: Lamps, from the lowest bit: the clock runs (blinks); the SDRAM is up; a host is answered; the
#: chip runs; the chip stopped with an error.
LEDS = ("alive", "memory", "link", "busy", "error")

_CSR_ADDR_WIDTH = 12
_ID_WIDTH = 4


class BoardTop(wiring.Component):
    """The chip, its SDRAM and the debug bridge, with plain ports: for an FPGA or a simulator.

    Parameters
    ----------
    config : ArchConfig
        Of the chip, with one tile.
    board : str
        Of `hw.spec.bridge.BOARDS`.
    clock_hz, baud : int
        Frequency of the clock; bits per second of the serial line.
    sdram : SdramChip
        Its SDRAM.
    capture_delay : int
        As for `SdramController`.
    version : int
        Of the bridge's protocol, as it is told to a host.

    Members
    -------
    rx, tx : In(1), Out(1)
        The serial line, seen from the board. ``rx`` may change at any time.
    sdram : Out(SdramPins())
        The SDRAM, which has the same clock.
    leds : Out(len(LEDS))
        Lamps, 1 for lit: `LEDS`.

    Timing
    ------
    Answers at once; memory is there after the SDRAM's power-up time, until which accesses wait. A
    reset by the host stops chip and SDRAM for `Bridge.RESET_CYCLES` cycles, and brings the SDRAM up
    again; what it holds is kept.

    Raises
    ------
    TypeError, ValueError
        A parameter is not as above, or a rate does not fit the clock.
    """

    def __init__(
        self, config, *, board, clock_hz, baud, sdram, capture_delay=0, version=VERSION
    ):  # fmt: skip
        if config.tiles != 1:
            raise ValueError(f"tiles must be 1 on a board with one SDRAM, not {config.tiles!r}")
        port = {"port_bytes": config.port_bytes}
        self._uart = Uart(clock_hz=clock_hz, baud=baud)
        self._bridge = Bridge(
            board=board,
            config_digest=config_digest(config),
            clock_hz=clock_hz,
            memory_bytes=sdram.size_bytes,
            csr_addr_width=_CSR_ADDR_WIDTH,
            version=version,
            **port,
        )
        self._chip = Top(config)
        self._share = MemoryShare(id_width=_ID_WIDTH, **port)
        self._controller = SdramController(
            timing=timing(sdram, clock_hz),
            data_bytes=config.port_bytes,
            id_width=_ID_WIDTH + 1,
            capture_delay=capture_delay,
        )
        self._blink_width = (clock_hz - 1).bit_length()
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "sdram": Out(SdramPins()),
            "leds": Out(len(LEDS)),
        })

    def elaborate(self, platform):
        m = Module()
        # A register: the request is decided late in a cycle, and half the device hears of it.
        reset = Signal(init=1)
        resets = DomainRenamer("chip")
        add_reset_domain(m, "chip", reset)
        # A register of their own: lamps, which have that of `sync`, are on the device's other side.
        link_reset = Signal(init=1)
        m.d.sync += link_reset.eq(0)
        add_reset_domain(m, "link", link_reset)
        m.submodules.uart = uart = DomainRenamer("link")(self._uart)
        m.submodules.bridge = bridge = DomainRenamer("link")(self._bridge)
        m.submodules.chip = chip = resets(self._chip)
        m.submodules.share = share = resets(self._share)
        m.submodules.controller = controller = resets(self._controller)
        m.d.sync += reset.eq(bridge.reset_request)

        m.d.comb += [uart.rx.eq(self.rx), self.tx.eq(uart.tx)]
        connect(m, uart.o_byte, bridge.i_byte)
        connect(m, bridge.o_byte, uart.i_byte)
        for name in ("framing_error", "line_break", "overrun"):
            m.d.comb += getattr(bridge, name).eq(getattr(uart, name))

        for name, member in Axi4Lite(addr_width=_CSR_ADDR_WIDTH).members.items():
            inner, outer = getattr(self._chip, f"s_axil_{name}"), getattr(bridge.axil, name)
            m.d.comb += inner.eq(outer) if member.flow is Out else outer.eq(inner)
        for name, member in Axi4(data_bytes=self._chip.config.port_bytes).members.items():
            inner, outer = getattr(self._chip, f"m0_axi_{name}"), getattr(share.chip, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        connect(m, bridge.axi, share.bridge)
        connect(m, share.axi, controller.axi)
        connect(m, controller.pins, flipped(self.sdram))

        self._light(m, chip, bridge, controller)
        return m

    def _light(self, m, chip, bridge, controller):
        """Drive the lamps; what is short is shown for an eighth of a blink."""
        blink = Signal(self._blink_width)
        tick = Signal()
        answered, link = Signal(), Signal()
        m.d.sync += [blink.eq(blink + 1), tick.eq(blink[:-3].all())]
        with m.If(tick):
            m.d.sync += [link.eq(answered), answered.eq(0)]
        with m.If(bridge.o_byte.valid):
            m.d.sync += answered.eq(1)
        # In the order of LEDS.
        lamps = Cat(blink[-1], controller.ready, link, chip.busy, chip.error)
        m.d.sync += self.leds.eq(lamps)
