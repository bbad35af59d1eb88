"""Find the bits of Verilog that nothing drives but one constant: they can never toggle.

Bits are followed through assignments that only join, cut and rename, through the ports of modules,
and through registers, which begin with their initial value. A bit is constant if all that is ever
assigned to it, under whatever condition, is the same constant. What passes an operator is free.
"""

from sim.coverage.wiring import bits_of, names_of

__all__ = ["constants"]


def constants(modules):
    """Return module to signal to a mask of the bits that are constant.

    Parameters
    ----------
    modules : dict
        What `sim.coverage.wiring.read` returns: each module has one instance, the first is the top.
    """
    drivers = {}  # (module, name, bit): all that it is set to: 0, 1, such a key, or FREE

    def connect(target, owner, source, source_owner):
        for index, bit in enumerate(target):
            driver = source[index] if source and index < len(source) else FREE
            if isinstance(driver, tuple):
                driver = (source_owner, *driver)
            drivers.setdefault((owner, *bit), []).append(driver)

    for name, module in modules.items():
        for left, right in (*module.initial, *module.wires, *module.assigns):
            target = bits_of(left, module)
            if target is None or not all(isinstance(bit, tuple) for bit in target):
                # Not understood: whatever it names is free.
                names = names_of(left, module)
                target = [(one, bit) for one in names for bit in range(module.widths[one])]
                connect(target, name, None, name)
            else:
                connect(target, name, bits_of(right, module), name)
        for kind, ports in module.cells:
            inside = modules.get(kind)
            for port, wire in ports:
                outer = bits_of(wire, module)
                inner = bits_of(f"{port} ", inside) if inside else None
                if inside and port in inside.inputs:
                    connect(inner, kind, outer, name)
                elif outer and all(isinstance(bit, tuple) for bit in outer):
                    connect(outer, name, inner, kind)
    return _masks(modules, drivers)


FREE = "free"


def _masks(modules, drivers):
    """Follow the drivers: every bit begins without a value, and gets those of all its drivers."""
    users, values = {}, {}
    for key, sources in drivers.items():
        for source in sources:
            if isinstance(source, tuple):
                users.setdefault(source, []).append(key)
    everything = [
        (name, signal, bit)
        for name, module in modules.items()
        for signal, width in module.widths.items()
        for bit in range(width)
    ]
    work = list(everything)
    while work:
        key = work.pop()
        # What nothing is known to drive comes from outside.
        found = {
            values.get(source) if isinstance(source, tuple) else source
            for source in drivers.get(key, [FREE])
        } - {None}
        value = None if not found else found.pop() if len(found) == 1 else FREE
        if value is not None and value != values.get(key):
            values[key] = value
            work += users.get(key, ())
    masks = {}
    for name, signal, bit in everything:
        if values.get((name, signal, bit)) in (0, 1):
            signals = masks.setdefault(name, {})
            signals[signal] = signals.get(signal, 0) | 1 << bit
    return masks
