"""Gives the memories of a component parity; the units that have them know nothing of it."""

from dataclasses import dataclass

from amaranth.hdl import Fragment, MemoryInstance

from .parity_memory import ParityMemory

__all__ = ["Protected", "insert_parity"]


@dataclass(frozen=True)
class Protected:
    """A memory with parity.

    Members
    -------
    path : str
        Where it is in the component: names of submodules, with dots between them.
    memory : ParityMemory
    """

    path: str
    memory: ParityMemory


def insert_parity(component, platform, *, sweep, sweep_row):
    """Elaborate a component, with a `ParityMemory` in place of every memory.

    Parameters
    ----------
    component : Elaboratable
        What to elaborate. Its clock domain is ``sync``.
    platform : object
        As `elaborate` is given.
    sweep, sweep_row : Signal
        To the memories that can be written: `ParityMemory`.

    Returns
    -------
    Fragment
        To be used as a submodule instead of the component.
    list of Protected
        In the order of the hierarchy.
    """
    fragment = Fragment.get(component, platform)
    found = []
    _replace(fragment, (), found, platform, sweep, sweep_row)
    return fragment, found


def _replace(fragment, path, found, platform, sweep, sweep_row):
    for index, (child, name, src_loc) in enumerate(fragment.subfragments):
        here = (*path, name or f"U${index}")
        if not isinstance(child, MemoryInstance):
            _replace(child, here, found, platform, sweep, sweep_row)
            continue
        protected = ParityMemory(child, name=here[-1])
        inner = Fragment.get(protected, platform)
        if protected.swept:
            # A smaller memory is swept several times.
            inner.add_statements(
                "comb", protected.sweep.eq(sweep), protected.sweep_row.eq(sweep_row)
            )
        fragment.subfragments[index] = (inner, name, src_loc)
        found.append(Protected(".".join(here), protected))
