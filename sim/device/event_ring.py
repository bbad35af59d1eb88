"""Events as the chip writes them into its ring: what is new is read, and must make sense."""

from hw.spec.requests import EVENT_BYTES
from sim.compiler.memory_map import EVENTS
from sim.device.error import BadAnswer

__all__ = ["MOST_IDLE", "EventRing"]

#: Interrupts, one after the other, behind which there may be nothing new.
MOST_IDLE = 100


class EventRing:
    """The host's end of the ring.

    Parameters
    ----------
    registers : Registers
        Of the chip.
    host : HostImage
        Its memory.
    """

    def __init__(self, registers, host):
        self._registers = registers
        self._host = host
        self.restart()

    def restart(self):
        """Begin at the first event of a run."""
        self._read_until = 0
        self._idle = 0

    async def new(self):
        """Return each `hw.spec.requests.Event` that was written since the last call.

        Raises
        ------
        BadAnswer
            There are more than the ring holds, or one is none, or there was nothing new for
            `MOST_IDLE` calls.
        """
        registers, first = self._registers, self._read_until
        written = await registers.register("events_written")
        if not 0 <= written - first <= EVENTS:
            raise BadAnswer(
                f"events_written reads {written} after {first} events were read, and the ring "
                f"holds {EVENTS}"
            )
        self._idle = self._idle + 1 if written == first else 0
        if self._idle > MOST_IDLE:
            raise BadAnswer(f"{self._idle} interrupts in a row, and events_written stays {written}")
        memory_map = registers.compiled.memory_map
        for number in range(first, written):  # no more: a serial line is slow
            start = memory_map.offset(memory_map.event_ring_addr + number % EVENTS * EVENT_BYTES)
            await registers.transport.pull(start, start + EVENT_BYTES)
        try:
            events = self._host.read_events(first, written)
        except ValueError as error:
            raise BadAnswer(f"events {first} to {written - 1} make no sense: {error}") from error
        self._read_until = written
        await registers.set_register("events_read", written)
        return events
