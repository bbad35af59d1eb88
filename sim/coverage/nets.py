"""Count a wire once, however many names and modules it passes through.

A port has its name in the unit that drives it, in those that read it, and in those between that
only hold wires; a field has one of its own. Counting all asks the same many times, and most where
nothing is computed.
"""

from sim.coverage.wiring import bits_of

__all__ = ["one_of_each"]


def one_of_each(modules, kept, shared):
    """Return module to signal to a mask of the bits to count: one bit of each wire.

    That is where it is driven; if a module of ``shared`` drives it, then the first other that it
    passes: a queue has many users, and bits that one does not need. What has no width, the words of
    memories, is left out.

    Parameters
    ----------
    modules : dict
        What `sim.coverage.wiring.read` returns.
    kept : dict
        Module to the signals to choose from.
    shared : set of str
        Modules that others have inside.
    """
    sources = _sources(modules)
    chosen = {}  # bit that drives a wire: (how good, bit to count)
    for module, names in kept.items():
        for name in names:
            for number in range(modules[module].widths.get(name, 0)):
                bit, depth = (module, name, number), 0
                driver = bit
                while driver in sources:
                    driver, depth = sources[driver], depth + 1
                grade = (module in shared, module != driver[0], depth, module, name)
                chosen[driver] = min(chosen.get(driver, (grade, bit)), (grade, bit))
    masks = {}
    for _, (module, name, number) in chosen.values():
        signals = masks.setdefault(module, {})
        signals[name] = signals.get(name, 0) | 1 << number
    return masks


def _sources(modules):
    """Return bit to bit: what always is the same as another, and that is nearer to the driver."""
    sources = {}

    def wire(target, owner, source, source_owner):
        for ours, other in zip(target or (), source or (), strict=False):
            if isinstance(ours, tuple) and isinstance(other, tuple):
                sources[(owner, *ours)] = (source_owner, *other)

    for name, module in modules.items():
        for left, right in module.wires:
            wire(bits_of(left, module), name, bits_of(right, module), name)
        for kind, ports in module.cells:
            inside = modules.get(kind)
            for port, text in ports if inside else ():
                outer, inner = bits_of(text, module), bits_of(f"{port} ", inside)
                if port in inside.inputs:
                    wire(inner, kind, outer, name)
                else:
                    wire(outer, name, inner, kind)
    return sources
