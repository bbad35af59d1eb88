"""Map modules of the chip to standard cells, each by itself, and keep what came out."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cell_netlist
from .area import LIMITS
from .design import alone, modules, write_whole
from .fanout import driven
from .mapping import side_by_side, workers
from .yosys import run_yosys, version

__all__ = ["Mapped", "map_modules"]

#: Bits from which on a memory stays one; what is smaller becomes flip-flops.
SMALLEST = LIMITS["FF"] + 1

# Area first, then buffers and sizes against the loads; nothing is asked of the delay.
ABC = "strash\ndch -f\n&get -n\n&nf\n&put\nbuffer -c\nupsize\ndnsize\n"

SCRIPT = (
    "read_rtlil {key}.il",
    "hierarchy -top unit",
    "chformal -remove",
    "synth -top unit -run begin:fine",
    "opt -fast -full",
    "memory_map a:stays %n",
    "opt -undriven -fine",
    "techmap",
    "opt -fast",
    # Flip-flops are called after the signals that they hold.
    "splitnets",
    "rename -wire",
    # A chip has no initial values: reset is enough, as `make lint-synth` checks.
    "attrmap -remove init",
    "setundef -zero",
    "dfflibmap {liberty}",
    "opt",
    "abc -script abc.script {liberty}",
    "{ties}",
    "opt_clean -purge",
    "write_json {key}.netlist",
)

_MEMORY = re.compile(r"^  memory width (\d+) size (\d+) \\\S+$", re.M)


@dataclass(frozen=True)
class Mapped:
    """A module in standard cells.

    Members
    -------
    cells : dict
        Type to count, modules that it holds among them as ``box<n>``.
    memories : list of dict
        ``name``, ``depth``, ``width`` and whether it is ``written``.
    ports : list of str
        Names of its ports, in the order of `design.Module.ports`.
    verilog : str
        Netlist of the module ``unit``; ``p<n>`` is the n-th port of one that it holds.
    """

    cells: dict
    memories: list
    ports: list
    verilog: str


def _marked(text):
    """Return RTLIL whose larger memories have an attribute."""

    def mark(match):
        stays = int(match[1]) * int(match[2]) >= SMALLEST
        return ("  attribute \\stays 1\n" if stays else "") + match[0]

    return _MEMORY.sub(mark, text)


def _ties(library):
    """Return the command that puts cells where constants are, or none."""
    high, low = library.tie(1), library.tie(0)
    if not high or not low:
        return ""
    return f"hilomap -singleton -hicell {' '.join(high)} -locell {' '.join(low)}"


def _map(text, library, folder):
    """Map RTLIL of the module ``unit``, or find what it gave before."""
    files = " ".join(f"-liberty {number}.lib" for number in range(len(library.texts)))
    code = Path(cell_netlist.__file__).read_text()
    whole = repr((version(), SCRIPT, ABC, SMALLEST, library.digest, code, text))
    key = hashlib.sha256(whole.encode()).hexdigest()[:24]
    kept = folder / f"{key}.json"
    if kept.exists():
        return Mapped(**json.loads(kept.read_text()))
    (folder / f"{key}.il").write_text(_marked(text))
    script = [line.format(key=key, liberty=files, ties=_ties(library)) for line in SCRIPT]
    run_yosys([line for line in script if line], folder, log=f"{key}.log")
    mapped = json.loads((folder / f"{key}.netlist").read_text())["modules"]["unit"]
    # Each text has numbers of its own in names: only the order of ports is the same in all.
    ports = {name: [port for *_, port in module.ports()] for name, module in modules(text).items()}
    result = Mapped(*cell_netlist.netlist(mapped, ports, library))
    write_whole(kept, json.dumps(asdict(result)))
    for suffix in ("il", "log", "netlist"):
        (folder / f"{key}.{suffix}").unlink()
    return result


def map_modules(found, names, library, folder, on_step=lambda text: None):
    """Return name to `Mapped` of some modules, what each holds not counted.

    Parameters
    ----------
    found : dict
        From `design.modules`.
    names : list of str
        Of the modules to map.
    library : liberty.Library
    folder : Path
        For what is kept, and for the library as Yosys and OpenSTA read it.

    Raises
    ------
    ValueError
        The library has no cell for something in the module.
    yosys.ToolError
        Yosys is missing, or failed.
    """
    for number, text in enumerate(library.texts):
        write_whole(folder / f"{number}.lib", text)
    write_whole(folder / "abc.script", ABC)
    texts = {name: alone(found[name], found) for name in names}
    different = sorted(set(texts.values()), key=len, reverse=True)
    with workers() as pool:
        results = side_by_side(pool, lambda text: _map(text, library, folder), different, on_step)()
    return driven(found, {name: results[text] for name, text in texts.items()}, library)
