"""Rung 4: the memory: data lines, address lines, cells, refresh."""

from sim.bringup import address_bus, data_bus, march, retention
from sim.bringup.rung import RungFailed

__all__ = ["climb"]


def climb(target):
    """Check one after the other; what fails because data fades is called so."""
    found = [data_bus.check(target)]
    for check in (address_bus.check, march.check):
        try:
            found.append(check(target))
        except RungFailed:
            # Rows that fade look like bad addresses or cells.
            retention.check_alone(target)
            raise
    return [*found, retention.check(target)]
