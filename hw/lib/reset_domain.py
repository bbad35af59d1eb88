"""Gives a part of a design a reset of its own, on the clock of the rest."""

from amaranth.hdl import ClockDomain, ClockSignal, ResetSignal

__all__ = ["add_reset_domain"]


def add_reset_domain(m, name, reset):
    """Add a domain of the clock of ``sync`` with nothing but one signal in its reset.

    A part is put into it by ``DomainRenamer(name)``.

    Parameters
    ----------
    m : Module
        Where the domain belongs; it is known there and below.
    name : str
        Of the domain.
    reset : Signal
        A register, 1 from power-on and from a reset of ``sync`` on: that resets the part, too.
    """
    m.domains += ClockDomain(name, local=True)
    m.d.comb += [ClockSignal(name).eq(ClockSignal()), ResetSignal(name).eq(reset)]
