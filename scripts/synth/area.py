"""How large the chip is: each module by itself, and the whole."""

from .design import BUILD, TOP, alone, memories, without_sources
from .finding import Finding
from .mapping import mapped, side_by_side

__all__ = [
    "DEVICE",
    "FIGURES",
    "LIMITS",
    "LUTS",
    "begin_modules",
    "begin_whole",
    "figures",
    "misplaced",
    "subtrees",
]

#: What a table shows of a unit, as (name, heading).
FIGURES = {
    "lut": "LUT4",
    "ff": "FF",
    "dsp": "MULT18X18D",
    "bram": "DP16KD",
    "gates": "gates",
    "gate_ff": "gate FF",
    "memory_bits": "memory bits",
}

#: What an LFE5U-85F has.
DEVICE = {"lut": 83_640, "ff": 83_640, "dsp": 156, "bram": 208}

#: LUT4 that a cell takes. Two slices of a distributed RAM hold its bits, a third is its write port.
LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}

#: Bits above which a memory must not become this: a small one is cheaper in LUTs.
LIMITS = {"LUT RAM": 4096, "FF": 256}

# What `mapped` gives of nothing.
_EMPTY = {"ecp5": {}, "gates": {}, "memories": {}}


def begin_modules(pool, found, ecp5=None, on_step=lambda text: None):
    """Begin to synthesise modules; return a function that waits for them.

    That returns name to cells of each module, what it holds not counted.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        Takes one job a module, the longest text first.
    found : dict
        Of `design.modules`, for the gates.
    ecp5 : dict
        The same with the cells of an ECP5, for its mapping; by default the portable modules. A
        module that only one of them has counts in that one's mapping.
    on_step : callable
        Is told how many modules are done.
    """
    designs = {"ecp5": found if ecp5 is None else ecp5, "gates": found}
    texts = {
        name: tuple(
            (label, alone(modules[name], modules))
            for label, modules in designs.items()
            if name in modules
        )
        for name in {**found, **designs["ecp5"]}
    }
    different = sorted(set(texts.values()), key=lambda pairs: -max(len(text) for _, text in pairs))

    def measure(pairs):
        return _EMPTY | mapped(dict(pairs), "unit", BUILD / "modules")

    measured = side_by_side(pool, measure, different, on_step)

    def results():
        known = measured()
        return {name: known[pairs] for name, pairs in texts.items()}

    return results


def begin_whole(pool, portable, ecp5, top=TOP):
    """Begin to synthesise a design as one; return a function that waits for its cells.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        Takes two jobs, by far the longest of a target: begin them before its modules.
    portable, ecp5 : str
        Its two RTLIL texts.
    """
    on_ecp5, in_gates = (
        pool.submit(mapped, {label: without_sources(text)}, top, BUILD / "whole", flat=True)
        for label, text in (("ecp5", ecp5), ("gates", portable))
    )
    return lambda: in_gates.result() | on_ecp5.result()


def misplaced(found, results):
    """Return a finding for each memory that is too large for what it became."""
    findings = []
    for name, module in found.items():
        for memory in memories(alone(module, found)):
            kind = results[name]["memories"].get(memory.name)
            if memory.bits > LIMITS.get(kind, memory.bits):
                size = f"{memory.depth} x {memory.width}"
                findings.append(Finding("memory", module.unit, f"{memory.name} {size} in {kind}"))
    return findings


def figures(result, bits):
    """Return what `FIGURES` lists, of the result of a synthesis."""
    ecp5, gates = result["ecp5"], result["gates"]
    registers = {kind: n for kind, n in gates.items() if "DFF" in kind}
    return {
        "lut": sum(count * ecp5.get(kind, 0) for kind, count in LUTS.items()),
        "ff": ecp5.get("TRELLIS_FF", 0),
        "dsp": ecp5.get("MULT18X18D", 0),
        "bram": ecp5.get("DP16KD", 0),
        "gates": sum(n for kind, n in gates.items() if kind.startswith("$_")) - sum(
            registers.values()
        ),
        "gate_ff": sum(registers.values()),
        "memory_bits": bits,
    }  # fmt: skip


def subtrees(found, results):
    """Return unit to figures of each module with all that it holds."""
    totals = {}

    def total(name):
        if name not in totals:
            module = found[name]
            own = figures(results[name], sum(memory.bits for memory in module.memories))
            for child in module.children:
                inner = total(child)
                own = {key: value + inner[key] for key, value in own.items()}
            totals[name] = own
        return totals[name]

    for name in found:
        total(name)
    return {found[name].unit: value for name, value in totals.items()}
