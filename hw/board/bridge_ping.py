"""What the debug bridge says of itself."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.spec.bridge import BOARDS, MAGIC, PING, PING_BYTES, VERSION

__all__ = ["BridgePing"]

_COUNTED = {"dropped_frames": "dropped", "framing_errors": "framing_error", "breaks": "line_break"}


class BridgePing(wiring.Component):
    """Make the bytes of a ping's reply, fields as `hw.spec.bridge.PING`.

    Parameters
    ----------
    board, config_digest, clock_hz, memory_bytes, version
        As for `Bridge`.

    Members
    -------
    dropped, framing_error, line_break : In(1)
        Strobes that are counted.
    take : In(1)
        Fields that change are to be of this moment.
    nonce : In(32)
        What the request had as its address.
    index : In(range(PING_BYTES))
        Which byte is wanted.
    byte : Out(8)
        ... and its value, a cycle later.
    """

    def __init__(self, *, board, config_digest, clock_hz, memory_bytes, version=VERSION):
        self._fixed = {
            "magic": MAGIC,
            "version": version,
            "board": BOARDS[board],
            "config_digest": config_digest,
            "clock_hz": clock_hz,
            "memory_bytes": memory_bytes,
            "spare": 0,
        }
        super().__init__({
            **{strobe: In(1) for strobe in _COUNTED.values()},
            "take": In(1),
            "nonce": In(32),
            "index": In(range(PING_BYTES)),
            "byte": Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        sizes = dict(PING)
        cycles = Signal(8 * sizes["cycles"])
        m.d.sync += cycles.eq(cycles + 1)
        moving = {"cycles": cycles}
        for field, strobe in _COUNTED.items():
            moving[field] = counter = Signal(8 * sizes[field], name=field)
            with m.If(getattr(self, strobe) & ~counter.all()):
                m.d.sync += counter.eq(counter + 1)

        values = self._fixed | {"nonce": self.nonce}
        for field, source in moving.items():
            values[field] = Signal.like(source, name=f"{field}_taken")
            with m.If(self.take):
                m.d.sync += values[field].eq(source)
        offset = 0
        with m.Switch(self.index):
            for field, size in PING:
                for byte in range(size):
                    with m.Case(offset + byte):
                        m.d.sync += self.byte.eq(values[field] >> 8 * byte)
                offset += size
        return m
