"""Checks of constructor parameters, with messages a test can quote."""

__all__ = ["check_lanes", "check_multiple", "check_positive", "check_power_of_two"]


def _check_integer(name, value):
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")


def check_positive(name, value):
    """Refuse what is not a positive integer."""
    _check_integer(name, value)
    if value < 1:
        raise ValueError(f"{name} must be positive, not {value!r}")


def check_power_of_two(name, value, *, least=1):
    """Refuse what is not a power of two from ``least``."""
    _check_integer(name, value)
    if value < least or value & (value - 1):
        raise ValueError(f"{name} must be a power of two from {least}, not {value!r}")


def check_lanes(value):
    """Refuse a number of lanes that does not cut a block of 32 into whole beats."""
    _check_integer("lanes", value)
    if value not in (2, 4, 8, 16, 32):
        raise ValueError(f"lanes must be 2, 4, 8, 16 or 32, not {value!r}")


def check_multiple(name, value, of):
    """Refuse what is not a positive multiple of a number."""
    _check_integer(name, value)
    if value < 1 or value % of:
        raise ValueError(f"{name} must be a positive multiple of {of}, not {value!r}")
