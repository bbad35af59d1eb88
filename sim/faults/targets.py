"""Where bits can flip: memories and stream registers, found in the chip's Verilog."""

import re
from dataclasses import dataclass

__all__ = ["Target", "find_targets"]

_MODULE = re.compile(r"^module (\S+) ?\(.*?^endmodule$", re.M | re.S)
_CHILD = re.compile(r"^  (\\serrano\.\S+) +(\S+) +\($", re.M)
_MEMORY = re.compile(r"^  reg \[(\d+):0\] (\S+) +\[(\d+):0\];$", re.M)
_REGISTER = re.compile(r"^  reg (?:signed )?(?:\[(\d+):0\] )?(\w+) = .*;$", re.M)
_WRITTEN = r"^ +{}\s*\[.*<="

#: Registers by which a module is known as a queue or slice, and those of it that are of the stream.
_STREAM = ("spare_full", "read_index")
_OF_STREAMS = (
    "spare", "spare_full", "front", "front_full", "o__payload", "o__valid", "level", "read_index",
    "write_index",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A memory or a register of the chip.

    Members
    -------
    path : str
        Its units and its name, as in the hierarchy of our sources, with dots between them.
    reference : str
        The same for Verilog, from the chip on.
    width, depth : int
        Bits of a word; words, or 0 of a register.
    table : bool
        A memory that is never written.
    """

    path: str
    reference: str
    width: int
    depth: int = 0
    table: bool = False

    @property
    def protected(self):
        """Whether it carries parity, on a chip that has it: all memories but the counters'."""
        return self.depth > 0 and not self.path.startswith("csr.")


def find_targets(text, top="serrano"):
    """Return the memories and stream registers of a chip from its Verilog, as lists of Targets."""
    bodies = {match[1].lstrip("\\"): match[0] for match in _MODULE.finditer(text)}
    memories, registers = [], []

    def visit(module, path, reference):
        body = bodies[module]
        for high, name, last in _MEMORY.findall(body):
            # A memory with parity is alone in a unit of its name.
            inside = path[-1:] != (_plain(name),)
            memories.append(
                Target(
                    ".".join((*path, *([_plain(name)] if inside else []))),
                    ".".join((*reference, _escaped(name))),
                    int(high) + 1,
                    int(last) + 1,
                    re.search(_WRITTEN.format(re.escape(name)), body, re.M) is None,
                )
            )
        found = {name: int(high or 0) + 1 for high, name in _REGISTER.findall(body)}
        if any(name in found for name in _STREAM):
            registers.extend(
                Target(".".join((*path, name)), ".".join((*reference, name)), found[name])
                for name in _OF_STREAMS
                if name in found and re.search(rf"^ +{name} <=", body, re.M)
            )
        for child, name in _CHILD.findall(body):
            visit(child.lstrip("\\"), (*path, _plain(name)), (*reference, _escaped(name)))

    visit(top, (), ())
    return memories, registers


def _plain(name):
    """Return a name as our sources have it."""
    return re.sub(r"\$\d+$", "", name.lstrip("\\"))


def _escaped(name):
    return f"{name} " if name.startswith("\\") else name
