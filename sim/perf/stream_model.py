"""The weight stream: a memory that runs ahead of the array as far as its queue reaches."""

from dataclasses import dataclass

from hw.memory_controller import MemoryController

__all__ = ["Dram", "StreamModel"]


@dataclass(frozen=True, kw_only=True)
class Dram:
    """Timing of a memory channel, in cycles, as `sim/harness/axi_dram.cpp` documents it."""

    latency: int = 30
    row_miss_cycles: int = 8
    turn_cycles: int = 4
    refresh_interval: int = 3900
    refresh_cycles: int = 40

    @property
    def beat_cycles(self):
        """Cycles of a beat of a long stream, refreshes included."""
        if not self.refresh_interval:
            return 1.0
        lost = self.refresh_cycles + self.row_miss_cycles
        return self.refresh_interval / (self.refresh_interval - lost)


class StreamModel:
    """When the words of a stream are taken.

    Parameters
    ----------
    config : ArchConfig
    dram : Dram

    Members
    -------
    asked : float
        When the last descriptor was given.
    """

    def __init__(self, config, dram):
        self.dram = dram
        self.word_cycles = dram.beat_cycles * config.cols / config.port_bytes
        self.depth = config.stream_depth * config.port_bytes // config.cols
        # Descriptor, command, bursts, the memory's own latency, queue, gearbox and slice.
        self.latency = 3 + MemoryController.LATENCY + dram.latency + 4
        # From the first word taken of a full queue to the first that is read for its place: bursts
        # are a quarter of the queue at most, and wait until all of one fits.
        burst = min(64, config.stream_depth // 4)
        self.restart = burst * self.word_cycles * config.port_bytes / config.cols + dram.latency + 5
        self.asked = 0.0
        self._given = 0.0  # when all words so far had come

    def take(self, asked, words, start, period=1.0, *, taken_away=0):
        """Return when the first and the last of ``words`` words can be taken.

        Parameters
        ----------
        asked : float
            When the descriptor was given.
        words : int
        start : float
            First cycle in which one is wanted.
        period : float
            Cycles from one that is wanted to the next.
        taken_away : float
            Cycles in which the port does something else.
        """
        begin = max(self._given, asked + self.latency)
        first = max(start, begin)
        # A word is read when there is place for it.
        places = max(0, words - self.depth)
        given = begin + words * self.word_cycles + taken_away
        if places:
            refilled = first + self.restart + places * self.word_cycles + taken_away
            given = max(given, refilled, first + places * period)
        self._given = given
        return first, max(first + words, self._given)
