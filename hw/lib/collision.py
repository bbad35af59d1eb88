"""What a read sees of a write to the same row in the same cycle."""

from amaranth.hdl import Cat, Elaboratable, Fragment, MemoryInstance, Mux, Signal, Value

__all__ = ["UNDEFINED", "Spoiled"]

#: Attributes of a memory whose reads may give anything in a cycle in which their row is written:
#: nobody reads that row then, or uses what was read. Block RAM is so; the old row, which a memory
#: without this gives, costs two flip-flops and a multiplexer for each bit. Simulators spoil such
#: reads (`Spoiled`), so that every test sees one that is used.
UNDEFINED = {"no_rw_check": 1}


class Spoiled(Elaboratable):
    """A component, with the complement of the old row for every read that is not defined.

    Those are the reads of memories that are `UNDEFINED`, of a row that is written
    in the same cycle.

    Parameters
    ----------
    component : Component
        What to elaborate; this has its signature and its members.
    """

    def __init__(self, component):
        self.component = component
        self.signature = component.signature

    def __getattr__(self, name):
        return getattr(self.component, name)

    def elaborate(self, platform):
        fragment = Fragment.get(self.component, platform)
        _spoil(fragment)
        return fragment


def _spoil(fragment):
    for child, name, _ in tuple(fragment.subfragments):
        if not isinstance(child, MemoryInstance):
            _spoil(child)
        elif child._attrs.items() >= UNDEFINED.items():
            for number, port in enumerate(child._read_ports):
                if port._domain != "comb":
                    _spoil_port(fragment, child, port, f"{name}_{number}")


def _spoil_port(fragment, instance, port, name):
    """Put a complement between a read port and those who read."""
    data = Value.cast(port._data)
    row = Signal(len(data), name=f"{name}_row")
    spoiled = Signal(name=f"{name}_spoiled")
    hit = Cat(
        write._en.any() & (write._addr == port._addr)
        for index, write in enumerate(instance._write_ports)
        if index not in port._transparent_for
    ).any()
    fragment.add_statements("comb", data.eq(row ^ spoiled.replicate(len(row))))
    fragment.add_statements(port._domain, spoiled.eq(Mux(port._en, hit, spoiled)))
    port._data = row
