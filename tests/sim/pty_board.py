"""A small board for the serial line's tests: bridge, registers and a memory, no chip."""

from amaranth.back import verilog
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.board.bridge import Bridge
from hw.board.uart import Uart
from hw.csr import Csr
from hw.lib.axi import Axi4
from hw.spec.bridge import config_digest
from hw.spec.presets import preset
from sim import verilate
from sim.board.simulated_board import SOURCES
from sim.harness.harness import HERE, axi

__all__ = ["CONFIG", "MEMORY_BYTES", "build"]

CONFIG = preset("tiny")
MEMORY_BYTES = 1 << 18
PORT_BYTES = 8
BAUD = 1_000_000


class PtyBoard(wiring.Component):
    """A serial line to the registers of a chip that is not there, and to memory."""

    def __init__(self, *, bit_cycles):
        self._clock_hz = bit_cycles * BAUD
        super().__init__({"rx": In(1, init=1), "tx": Out(1), "axi": Out(Axi4(data_bytes=8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(clock_hz=self._clock_hz, baud=BAUD)
        m.submodules.csr = csr = Csr(CONFIG)
        m.submodules.bridge = bridge = Bridge(
            board="ulx3s",
            config_digest=config_digest(CONFIG),
            clock_hz=self._clock_hz,
            memory_bytes=MEMORY_BYTES,
            port_bytes=PORT_BYTES,
        )
        m.d.comb += [uart.rx.eq(self.rx), self.tx.eq(uart.tx)]
        for name in ("framing_error", "line_break", "overrun"):
            m.d.comb += getattr(bridge, name).eq(getattr(uart, name))
        connect(m, uart.o_byte, bridge.i_byte)
        connect(m, bridge.o_byte, uart.i_byte)
        connect(m, bridge.axil, csr.bus)
        connect(m, bridge.axi, flipped(self.axi))
        return m


def build(folder, *, bit_cycles):
    """Build a simulator of the board in a folder; return its executable."""
    folder.mkdir(parents=True, exist_ok=True)
    board = folder / "pty_board.v"
    board.write_text(
        verilog.convert(PtyBoard(bit_cycles=bit_cycles), name="board", strip_internal_attrs=True)
    )
    signals = axi(PORT_BYTES)
    wires = "\n    ".join(f"wire [{width - 1}:0] axi_{name};" for name, width, _ in signals)
    chip = ", ".join(f".axi__{name}(axi_{name})" for name, _, _ in signals)
    dram = ", ".join(f".s_axi_{name}(axi_{name})" for name, _, _ in signals)
    top = folder / "pty_board_top.sv"
    top.write_text(f"""\
module pty_board_top;
    reg clk = 0, rst = 1;
    always #5 clk = ~clk;
    initial #100 rst = 0;
    wire to_board, from_board;
    {wires}
    uart_pty #(.BIT_CYCLES({bit_cycles})) uart (.clk(clk), .tx(to_board), .rx(from_board));
    board board (.clk(clk), .rst(rst), .rx(to_board), .tx(from_board), {chip});
    axi_dram #(.DATA_BYTES({PORT_BYTES})) dram (.clk(clk), .rst(rst), {dram},
        .bytes_read(), .bytes_written(), .busy_cycles());
endmodule
""")
    sources = [top, board, *SOURCES, HERE / "axi_dram.sv", HERE / "axi_dram.cpp"]
    return verilate.build(sources, "pty_board_top", folder / "build", public=(), cocotb=False)
