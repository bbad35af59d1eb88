"""What `make lint-synth` looks at: the chip of a preset, or what a board has around its chip."""

import re
from dataclasses import dataclass

from hw.board.boards import BAUD, BOARDS
from hw.board.sdram_timing import chip
from hw.spec.presets import PRESETS, preset
from sim.run.chip import emit_verilog

from .design import BUILD, TOP, emit, modules, write_rtlil, write_whole
from .yosys import run_yosys

__all__ = ["DEFAULTS", "SUFFIX", "Target", "target", "without_inside"]

#: Those that are always looked at.
DEFAULTS = ("tiny", "ulx3s", "ulx3s_board")

#: Ends the name of what is around the chip of a board.
SUFFIX = "_board"

_BOARD_TOP = f"{TOP}.board"
_BOX = "board.chip"

# What Amaranth does to write Verilog, and the ports of black boxes.
_VERILOG = (
    *("proc -nomux -norom", "memory_collect"),
    *("write_verilog -norename units.v", "write_verilog -norename -blackboxes boxes.v"),
)


def without_inside(text, unit):
    """Return RTLIL in which a unit is a black box, and nothing is left of what it holds."""
    found = modules(text)
    box = next(module for module in found.values() if module.unit == unit)
    ports = "".join(
        f"  wire width {width} {way} {number} {name}\n"
        for number, (width, way, name) in enumerate(box.ports())
    )

    def kept(match):
        name = match[1]
        if name == box.name:
            return f"attribute \\blackbox 1\nmodule \\{name}\n{ports}end\n"
        return "" if found[name].unit.startswith(f"{unit}.") else match[0]

    return re.sub(
        r"(?:^attribute [^\n]*\n)*^module \\(\S+)\n.*?^end\n", kept, text, flags=re.M | re.S
    )


@dataclass(frozen=True)
class Target:
    """Something to look at.

    Members
    -------
    name : str
        Of a preset, or of a board with `SUFFIX` behind it.
    """

    name: str

    @property
    def is_board(self):
        """Whether this is what a board has around its chip, which is a black box."""
        return self.name.endswith(SUFFIX)

    @property
    def top(self):
        """Name of its module."""
        return _BOARD_TOP if self.is_board else TOP

    @property
    def folder(self):
        """Where its files are built."""
        return BUILD / self.name

    @property
    def config(self):
        """Configuration of the chip."""
        return preset(self._board.preset if self.is_board else self.name)

    @property
    def _board(self):
        return BOARDS[self.name.removesuffix(SUFFIX)]

    def _make(self):
        from hw.board.board_top import BoardTop

        board = self._board
        return BoardTop(
            self.config,
            board=board.name,
            clock_hz=board.clock_hz,
            baud=BAUD,
            sdram=chip(board.sdram),
            capture_delay=board.capture_delay,
        )

    def rtlil(self, *, ecp5=False):
        """Return the path of its RTLIL, with the cells of an ECP5 or with portable twins."""
        if not self.is_board:
            return emit(self.name, ecp5=ecp5)
        whole = write_rtlil(self._make, self.folder / "whole", self.top, ecp5=ecp5)
        path = self.folder / whole.name
        write_whole(path, without_inside(whole.read_text(), _BOX))
        return path

    def modules(self, *, ecp5=False):
        """Return its modules, as `design.modules` does."""
        return modules(self.rtlil(ecp5=ecp5).read_text())

    def without_box(self, units):
        """Return units, a dictionary, without the chip of a board."""
        return {unit: figures for unit, figures in units.items() if unit != _BOX}

    def verilog(self):
        """Return the path of its Verilog, for a chip what `make verilog` writes."""
        path = self.folder / f"{self.top}.v"
        if not self.is_board:
            emit_verilog(self.config, path)
            return path
        script = [f"read_rtlil {self.rtlil().name}", *_VERILOG]
        run_yosys(script, self.folder, log="verilog.log")
        texts = [(self.folder / name).read_text() for name in ("units.v", "boxes.v")]
        write_whole(path, "".join(texts))
        return path


def target(name):
    """Return the `Target` called ``name``; ValueError names those there are."""
    boards = [f"{board}{SUFFIX}" for board in BOARDS]
    if name not in (*PRESETS, *boards):
        raise ValueError(f"preset must be one of {', '.join((*PRESETS, *boards))}, not {name!r}")
    return Target(name)
