"""The board that is brought up, and what the rungs do with it."""

import asyncio
import time
from dataclasses import dataclass

import numpy as np

from hw.spec.bridge import MAX_DATA
from hw.spec.config import ArchConfig
from sim.compiler.compile import CompiledModel
from sim.device.serial_transport import SerialTransport
from sim.golden.model import QuantisedModel

__all__ = ["Settings", "Target"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the ladder expects of a board, and how long it looks.

    Parameters
    ----------
    board : str
        Of `hw.spec.bridge.BOARDS`.
    config : ArchConfig
        Of its chip.
    simulated : bool
        Whether the board's seconds are not the host's.
    timeout : float
        Seconds without a reply after which a frame is sent again.
    patience : float
        Seconds that the chip may run without an event.
    wait_ms : float
        Milliseconds, by the board's clock, that memory must keep its data.
    march_bytes : int
        Bytes that the march goes over, at both ends of the memory.
    seed : int
        Of all random data.
    model_name, model, compiled : str, QuantisedModel, CompiledModel
        Model of rungs 8 and 9.
    prompt : tuple of int
        Its prompt.
    tokens : int
        Tokens that it writes.
    """

    board: str
    config: ArchConfig
    simulated: bool = False
    timeout: float = 2.0
    patience: float = 60.0
    wait_ms: float = 500.0
    march_bytes: int = 1 << 15
    seed: int = 1
    model_name: str
    model: QuantisedModel
    compiled: CompiledModel
    prompt: tuple
    tokens: int = 8


class Target:
    """A board on a serial line. It is spoken to when a rung first needs it.

    Parameters
    ----------
    open_channel : callable
        Returns an open `Channel`; its argument is the baud rate, None for the one that was asked
        for.
    settings : Settings
        What is expected.
    """

    def __init__(self, open_channel, settings):
        self.open_channel = open_channel
        self.settings = settings
        self._channel = None
        self._transport = None
        self._loaded = None

    def open(self):
        """Open the channel, if it is not open; return it. `PortError` if that cannot be."""
        if self._channel is None:
            self._channel = self.open_channel(None)
        return self._channel

    def close(self):
        """Let others have the channel."""
        if self._channel is not None:
            self._channel.close()
        self._channel = self._transport = None

    @property
    def transport(self):
        """The `SerialTransport`, whose memory is as large as the board's.

        A rung that takes another size by `load` leaves it like that.
        """
        if self._transport is None:
            settings = self.settings
            self._transport = SerialTransport(
                self.open(),
                board=settings.board,
                timeout=settings.timeout,
                patience=settings.patience,
            )
        return self._transport

    def run(self, coroutine):
        """Return what a coroutine of driver or transport returns."""
        return asyncio.run(coroutine)

    def exchange(self, requests):
        """Have requests carried out in order, as `SerialTransport.exchange` does."""
        return self.transport.exchange(requests)

    def write(self, pieces):
        """Write into the board's memory; ``pieces``: list of (address, bytes)."""
        self._loaded = None
        self.exchange([
            ("write_memory", addr + at, len(data[at : at + MAX_DATA]), data[at : at + MAX_DATA])
            for addr, data in pieces
            for at in range(0, len(data), MAX_DATA)
        ])

    def read(self, pieces):
        """Return what the board's memory holds, a list of bytes; ``pieces``: (address, count)."""
        counts = [
            [min(MAX_DATA, count - at) for at in range(0, count, MAX_DATA)] for _, count in pieces
        ]
        answers = iter(
            self.exchange([
                ("read_memory", addr + index * MAX_DATA, size, b"")
                for (addr, _), sizes in zip(pieces, counts, strict=True)
                for index, size in enumerate(sizes)
            ])
        )
        return [b"".join(next(answers) for _ in sizes) for sizes in counts]

    def wait(self, ms):
        """Wait so many milliseconds of the board's clock."""
        start = self.transport.ping()
        end = start["cycles"] + round(ms * start["clock_hz"] / 1000)
        while self.transport.ping()["cycles"] < end:
            time.sleep(0.01)

    def load(self, compiled: CompiledModel):
        """Have the image of a compiled model in the board's memory; DeviceError if it is too small.

        What is there already is not sent again.
        """
        transport = self.transport
        if self._loaded is compiled:
            return
        self._loaded = None
        memory_map = compiled.memory_map
        transport.resize(memory_map.size_bytes)
        compiled.fill(transport.memory)
        self.run(transport.push(0, memory_map.offset(memory_map.image_limit)))
        self._loaded = compiled

    def random(self, extra=0):
        """Return a random generator of the ladder's seed."""
        return np.random.default_rng((self.settings.seed, extra))
