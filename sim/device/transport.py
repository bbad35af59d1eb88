"""What the driver needs of the way to a chip."""

from typing import Protocol

import numpy as np

__all__ = ["Transport"]


class Transport(Protocol):
    """A way to a chip: registers, memory, interrupt.

    Attributes
    ----------
    memory : uint8 array
        The host's copy of the chip's memory, from its first byte, one memory channel after the
        other. Where both share one memory, as in simulation, ``push`` and ``pull`` have nothing to
        do.
    """

    memory: np.ndarray

    async def read(self, offset: int) -> int:
        """Return a register."""

    async def write(self, offset: int, value: int) -> None:
        """Write a register."""

    async def push(self, start: int, stop: int) -> None:
        """Copy bytes ``start`` to ``stop`` of ``memory`` to the chip."""

    async def pull(self, start: int, stop: int) -> None:
        """Copy bytes ``start`` to ``stop`` of ``memory`` from the chip."""

    async def interrupt(self) -> None:
        """Return when the interrupt line is high."""
