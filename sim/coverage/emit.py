"""Write Verilog whose blocks say which statements of our sources they come from."""

import contextlib
import os
import re
from pathlib import Path

__all__ = ["COMMENT", "ROOT", "convert"]

# A Yosys on PATH may be too old for Amaranth; the one in the wheel never is.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")

ROOT = Path(__file__).resolve().parents[2]

#: What stands before the sources of a block, each ``file:line``, joined by spaces.
COMMENT = "//@ "

_MARK = "cov_mark_"
_ASSIGNED = re.compile(rf"^\s*\\\$?{_MARK}(\d+)\s+= 1'h1;$")
_DECLARED = re.compile(rf"^\s*(?:reg|wire) \\\$?{_MARK}\d+ .*;$")
_NAMELESS = re.compile(r"\\\$(\S+) ")
_SRC = re.compile(r'src = "([^"]*)"')


@contextlib.contextmanager
def _marked(found):
    """Have every block of assignments set a signal of its own, which `convert` finds again.

    RTLIL has no room for where an assignment inside a process comes from; Amaranth knows it until
    then. ``found`` gets the places (str) of each mark.
    """
    from amaranth.back import rtlil

    emitter = rtlil.ModuleEmitter
    before = emitter.emit_assignment_list
    assigns = {kind: kind.assign for kind in (rtlil.Process, rtlil.Case)}
    state = {}

    def emit_assignment_list(self, cell_idx, cell):
        # Assignments are emitted in the order of the list, the default value before them.
        state["places"] = iter([None, *(one.src_loc for one in cell.assignments)])
        state["builder"] = self.builder
        before(self, cell_idx, cell)
        # The signals were made after the process that sets them, and must stand before it.
        contents = self.builder.contents
        name = next(n for n in reversed(contents) if isinstance(contents[n], rtlil.Process))
        contents[name] = contents.pop(name)

    def assign(self, lhs, rhs):
        place = next(state["places"])
        self.contents.append(rtlil.Assignment(lhs, rhs))
        if place is None:
            return
        mark = getattr(self, "mark", None)
        if mark is None:
            self.mark = mark = len(found)
            found.append([])
            wire = state["builder"].wire(1, name=f"${_MARK}{mark}")
            self.contents.append(rtlil.Assignment(wire.name, "1'1"))
        found[mark].append(_place(*place))

    emitter.emit_assignment_list = emit_assignment_list
    for kind in assigns:
        kind.assign = assign
    try:
        yield
    finally:
        emitter.emit_assignment_list = before
        for kind, method in assigns.items():
            kind.assign = method


def _place(file, line):
    path = Path(file)
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line}"


def convert(component, name):
    """Return a component as Verilog for `sim.coverage.collect`.

    It does the same as that of ``verilog.convert``, with these differences: a module and its
    signals have their ``src``, relative to this repository; each block of assignments
    begins with a comment `COMMENT` that names the statements; and what has no name begins with an
    underscore, so that Verilator does not count how it toggles.

    Parameters
    ----------
    component : wiring.Component
        What to convert.
    name : str
        Of the top module.
    """
    from amaranth.back import verilog

    places = []
    with _marked(places):
        text = verilog.convert(component, name=name, strip_internal_attrs=False)

    def line_of(line):
        mark = _ASSIGNED.match(line)
        if mark:
            return f"{COMMENT}{' '.join(dict.fromkeys(places[int(mark[1])]))}"
        if _DECLARED.match(line):
            return "//"
        line = _SRC.sub(lambda match: f'src = "{_relative(match[1])}"', line)
        return _NAMELESS.sub(lambda match: f"\\_${match[1]} ", line)

    return "\n".join(map(line_of, text.split("\n")))


def _relative(text):
    return "|".join(part.removeprefix(f"{ROOT}/") for part in text.split("|"))
