"""What a rung of the ladder is, and how it fails."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Rung", "RungFailed"]


class RungFailed(Exception):
    """A rung found a fault.

    Attributes
    ----------
    fault : str
        What is wrong, as exactly as is known.
    expected, got : str
        What should have come, and what came.
    look : str
        What to look at next.
    """

    def __init__(self, fault, *, expected, got, look):
        super().__init__(fault)
        self.fault = fault
        self.expected = expected
        self.got = got
        self.look = look


@dataclass(frozen=True)
class Rung:
    """One rung.

    Members
    -------
    number, name : int, str
        As they are shown.
    climb : callable
        Takes a `Target`; returns what was found, a list of lines. Raises `RungFailed`.
    needs : tuple of int
        Rungs without which this one tells nothing.
    """

    number: int
    name: str
    climb: Callable
    needs: tuple
