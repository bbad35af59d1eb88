"""The chip as RTLIL: written once for each state of the sources, and cut into its modules."""

import hashlib
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from hw.spec.presets import preset
from sim.collector import uncollected

__all__ = [
    "BUILD",
    "ROOT",
    "TOP",
    "Memory",
    "Module",
    "alone",
    "emit",
    "for_ecp5",
    "memories",
    "modules",
    "recoded_states",
    "sources_digest",
    "undefined_reads",
    "unit_name",
    "without_sources",
    "write_rtlil",
    "write_whole",
]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "synth"
TOP = "serrano"

_MODULE = re.compile(r"^module \\(\S+)\n(.*?)^end\n", re.M | re.S)
_PORT = re.compile(r"^  wire width (\d+) (input|output|inout) \d+ +(?:signed )? *(\\\S+)$", re.M)
_CELL = re.compile(r"^  cell \\(\S+) (\\\S+)$", re.M)
_MEMORY = re.compile(r"^  memory width (\d+) size (\d+) \\(\S+)$", re.M)
_SRC = re.compile(r"^ *attribute \\(src|amaranth\.\S+) .*\n", re.M)
_NUMBER = re.compile(r"\$(\d+)")
_UNDEFINED = re.compile(
    r"^  attribute \\no_rw_check 1\n(?:  attribute .*\n)*  memory .* \\(\S+)$", re.M
)
_READ = re.compile(r'^  cell \$memrd_v2 .*\n    parameter \\MEMID "\\\\(\S+)"\n(?:    .*\n)*', re.M)
_MASKS = re.compile(r"(TRANSPARENCY_MASK (\d+)'([01]+)\n    parameter \\COLLISION_X_MASK ).*")
_STATE = re.compile(r"^  attribute \\init (\S+)\n(  wire width \d+ (\\\w*_state))$", re.M)
_REGISTER = re.compile(r"connect \\D (\S+) .*\n    connect \\CLK .*\n    connect \\Q (\S+)$", re.M)
_RESET = re.compile(
    r"^    switch \\\w*rst \[0\]\n      case 1'1\n        assign (\S+) \[\S+\] (\S+)$", re.M
)
_SITE = re.compile(r"^ *attribute \\BEL .*\n", re.M)


@dataclass(frozen=True)
class Memory:
    """A memory of a module: its name, and its size in bits."""

    name: str
    width: int
    depth: int

    @property
    def bits(self):
        """Bits in all."""
        return self.width * self.depth


@dataclass(frozen=True)
class Module:
    """A module of the chip.

    Members
    -------
    name : str
        As in the RTLIL.
    text : str
        Everything between its first line and its last.
    children : tuple of str
        Names of the modules it holds.
    memories : tuple of Memory
    """

    name: str
    text: str
    children: tuple
    memories: tuple

    @property
    def unit(self):
        """Its name in our words: ``core.scores.softmax``."""
        return unit_name(self.name)

    def ports(self):
        """Return (width, direction, name) of each port."""
        return _PORT.findall(self.text)


def unit_name(name):
    """Return the path of a module without the chip's name and without Amaranth's numbers."""
    path = _NUMBER.sub("", name).split(".")
    return ".".join(path[1:]) if len(path) > 1 else "top"


def write_whole(path, text):
    """Write a file beside its place and put it there: it is never seen half written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def sources_digest():
    """Return a digest of everything that the RTLIL is made from, but the preset."""
    digest = hashlib.sha256(importlib.metadata.version("amaranth").encode())
    for path in sorted((ROOT / "hw").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def emit(name, *, trace=False, ecp5=False):
    """Return the path of the RTLIL of a preset's chip, writing it unless it is up to date.

    With ``trace`` it has the ports of the probes, which `sim.harness` needs; with ``ecp5`` the
    cells of an ECP5 in place of their portable twins.

    Raises
    ------
    ValueError
        An unknown preset.
    """
    config = preset(name)

    def make():
        from hw.top import Top

        return Top(config, trace=trace)

    return write_rtlil(make, BUILD / name, TOP, kind="_trace" if trace else "", ecp5=ecp5)


def write_rtlil(make, folder, top, *, kind="", ecp5=False):
    """Write a component as RTLIL into a folder, unless it is up to date; return its path.

    Parameters
    ----------
    make : callable
        Makes the component.
    folder : Path
        One for each state of what ``make`` depends on besides the sources.
    top : str
        Name of its module.
    kind : str
        Goes behind the name of the file.
    ecp5 : bool
        Whether it has the cells of an ECP5.
    """
    path = folder / f"{top}{kind}{'_ecp5' if ecp5 else ''}.il"
    first = f"# {sources_digest()}\n"
    if path.exists():
        with path.open() as file:
            if file.readline() == first:
                return path
    from amaranth.back import rtlil  # two seconds that a run from the cache need not spend

    from hw.ecp5.device import Lfe5u85f

    platform = Lfe5u85f() if ecp5 else None
    with uncollected():
        text = rtlil.convert(make(), name=top, platform=platform)
    write_whole(path, first + (for_ecp5(text) if ecp5 else text))
    return path


def memories(text):
    """Return the memories of the RTLIL text of a module."""
    return tuple(
        Memory(name, int(width), int(depth)) for width, depth, name in _MEMORY.findall(text)
    )


def modules(text):
    """Return the modules of an RTLIL text: name to `Module`, the top first."""
    bodies = dict(_MODULE.findall(text))
    return {
        name: Module(
            name,
            body,
            tuple(kind for kind, _ in _CELL.findall(body) if kind in bodies),
            memories(body),
        )
        for name, body in bodies.items()
    }


def undefined_reads(text):
    """Return RTLIL in which reads of memories that are `hw.lib.collision.UNDEFINED` are so.

    Amaranth leaves that attribute on a memory, and Yosys looks at each read's own mask: from it,
    that a read in the cycle of a write need not give the old row.
    """

    def mask(found):
        free = found[3].zfill(int(found[2])).translate(str.maketrans("01", "10"))
        return f"{found[1]}{found[2]}'{free}"

    def module(found):
        names = set(_UNDEFINED.findall(found[0]))

        def read(port):
            clocked = "CLK_ENABLE 1\n" in port[0]
            return _MASKS.sub(mask, port[0]) if clocked and port[1] in names else port[0]

        return _READ.sub(read, found[0]) if names else found[0]

    return _MODULE.sub(module, text)


def recoded_states(text):
    """Return RTLIL in which the states of machines have no initial value, where reset sets it.

    Yosys then gives each state a flip-flop: those who look at a state wait for no comparison. A
    state with an initial value is left in its code.
    """

    def module(found):
        inputs = {name: data for data, name in _REGISTER.findall(found[0])}
        resets = dict(_RESET.findall(found[0]))

        def state(wire):
            init, rest, name = wire.groups()
            return rest if resets.get(inputs.get(name)) == init else wire[0]

        return _STATE.sub(state, found[0])

    return _MODULE.sub(module, text)


def for_ecp5(text):
    """Return RTLIL as Yosys shall have it for an ECP5, from what Amaranth wrote."""
    return recoded_states(undefined_reads(text))


def without_sources(text):
    """Return RTLIL without comments, and without what tells where in the sources it comes from."""
    return _SRC.sub("", re.sub(r"^#.*\n", "", text, flags=re.M))


def alone(module, found):
    """Return a module as RTLIL by itself, with what it holds as black boxes.

    It is called ``unit``, Amaranth's numbers count anew, and cells have no sites: modules that do
    the same give the same text, and so does a module after a change elsewhere.
    """
    body = _SITE.sub("", without_sources(module.text))
    boxes = []
    for index, child in enumerate(dict.fromkeys(module.children)):
        body = re.sub(rf"^  cell {re.escape(chr(92) + child)} ", f"  cell \\\\box{index} ", body,
                      flags=re.M)  # fmt: skip
        ports = "".join(
            f"  wire width {width} {way} {number} {name}\n"
            for number, (width, way, name) in enumerate(found[child].ports())
        )
        boxes.append(f"attribute \\blackbox 1\nmodule \\box{index}\n{ports}end\n")
    text = f"attribute \\top 1\nmodule \\unit\n{body}end\n" + "".join(boxes)
    numbers = {}
    return _NUMBER.sub(lambda match: f"${numbers.setdefault(match[1], len(numbers))}", text)
