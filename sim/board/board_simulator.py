"""From a board to a simulator of it, and to a process that a host opens a port of."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hw.board.board_top import BoardTop
from hw.board.boards import BAUD, Board
from hw.board.sdram_timing import chip
from hw.board.uart import MIN_BIT_CYCLES, bit_cycles
from hw.spec.bridge import VERSION
from hw.spec.presets import preset
from sim import verilate
from sim.board.fault import Fault
from sim.board.simulated_board import SOURCES, SimulatedBoard
from sim.harness import sdram
from sim.run.chip import BUILD, emit_component

__all__ = ["BoardSimulator", "build_board", "fastest_link"]

_TOP = Path(__file__).with_name("simulated_board.sv")


@dataclass(frozen=True)
class BoardSimulator:
    """A simulator of a board.

    Members
    -------
    board : Board
        What was built.
    executable : Path
        The simulator.
    bit_cycles : int
        Cycles of a bit on the serial line.
    """

    board: Board
    executable: Path
    bit_cycles: int

    def start(self, run_dir, *, image=None, fault=None):
        """Return a `SimulatedBoard` that runs.

        Parameters
        ----------
        run_dir : Path
            Folder for its log, its port and, without an ``image``, its memory.
        image : Path
            File with what the SDRAM holds, which the simulator works on; by default a new one, of
            zeros.
        fault : Fault
            What is wrong with the board.
        """
        fault = fault or Fault("")
        run_dir = Path(run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        if image is None:
            image = run_dir / "sdram.bin"
            image.write_bytes(b"")
        board = self.board
        arguments = sdram.plusargs(
            chip(board.sdram), board.clock_hz, image, delay=board.capture_delay, **fault.sdram()
        )
        arguments += fault.line(self.bit_cycles)
        return SimulatedBoard(self.executable, run_dir, arguments)


def fastest_link(board):
    """Return by how much the serial line of a board can be faster in a simulation."""
    return board.clock_hz // (MIN_BIT_CYCLES * BAUD)


def build_board(board, *, config=None, link_speedup=1, version=VERSION, fast=True, on_step=None):
    """Build the simulator of a board, or find it built.

    Parameters
    ----------
    board : Board
        What to build.
    config : ArchConfig
        Of the chip; by default that of the board's preset.
    link_speedup : int
        By how much the serial line is faster than on the board.
    version : int
        Of the protocol, as it is told to a host.
    fast : bool or BALANCED
        As for `sim.verilate.build`.
    on_step : callable
        Called with what is done next (str) and the folder in which that happens.

    Raises
    ------
    TypeError, ValueError
        From `BoardTop`: the line would be too fast for the clock, for one.
    BuildError
        From `sim.verilate.build`.
    """
    on_step = on_step or (lambda step, folder: None)
    config = config or preset(board.preset)
    baud = BAUD * link_speedup
    cycles = bit_cycles(board.clock_hz, baud)
    settings = (board, config, baud, version)
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:8]
    folder = BUILD / f"board-{board.name}-{config.rows}x{config.cols}-{digest}"
    source = folder / "board.v"

    def make():
        return BoardTop(
            config,
            board=board.name,
            clock_hz=board.clock_hz,
            baud=baud,
            sdram=chip(board.sdram),
            capture_delay=board.capture_delay,
            version=version,
        )

    on_step("writing Verilog", folder)
    emit_component(make, source, name="board", settings=settings, spoiled=True)
    build_dir = folder / verilate.folder_of(fast)
    on_step("building the simulator", build_dir)
    executable = verilate.build(
        [_TOP, source, *SOURCES, *sdram.SOURCES],
        _TOP.stem,
        build_dir,
        fast=fast,
        public=(),
        cocotb=False,
        parameters={"BIT_CYCLES": cycles},
    )
    return BoardSimulator(board, executable, cycles)
