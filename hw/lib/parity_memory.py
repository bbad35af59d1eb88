"""A memory whose words carry parity."""

from math import gcd

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .collision import UNDEFINED

__all__ = ["ParityMemory"]

_BYTE = 8  # data bits for each bit of parity, at most: block RAM has nine bits to a byte


class ParityMemory(wiring.Component):
    """Stand in for a memory: the same ports and the same words, with even parity over each byte.

    A write stores the parity of the lanes that it enables, so that lanes of any width keep theirs.
    Any single flipped bit of a word that is read, data or parity, is found. Words that nobody has
    written hold anything after power-on: they are written by a sweep, with whatever the write port
    has in its data. Memories without a write port are tables and need none.

    Parameters
    ----------
    instance : amaranth.hdl.MemoryInstance
        The memory, elaborated. Its ports are taken over. It has one write port at most.
    name : str
        Its name in the netlist.

    Members
    -------
    sweep, sweep_row : In
        Write this row, if there is one of that number; nobody else may want to.
    error : Out(1)
        A word with a wrong parity was read.

    Timing
    ------
    That of the memory; ``error`` comes from a register, :attr:`LATENCY` cycles after the cycle in
    which the data is there.
    """

    #: Cycles from data to ``error``.
    LATENCY = 2

    def __init__(self, instance, *, name="words"):
        assert len(instance._write_ports) <= 1
        self._instance = instance
        self._name = name
        #: Rows; a power of two, so that every address has one.
        self.depth = 1 << ceil_log2(instance._data.depth)
        self.width = Shape.cast(instance._data.shape).width
        lanes = [port._granularity for port in instance._write_ports]
        self._lane = gcd(self.width, *lanes)  # data bits of a lane
        self._checks = -(-self._lane // _BYTE)  # parity bits of a lane
        self.swept = bool(lanes)
        super().__init__({
            "sweep": In(1),
            "sweep_row": In(range(max(2, self.depth))),
            "error": Out(1),
        })

    @property
    def row_width(self):
        """Bits of a word with its parity."""
        return self.width // self._lane * (self._lane + self._checks)

    def _bytes(self, lane):
        return [lane[start : start + _BYTE] for start in range(0, self._lane, _BYTE)]

    def _parts(self, row):
        """Return (data, parity) of each lane of a stored row."""
        step = self._lane + self._checks
        lanes = [row[start : start + step] for start in range(0, self.row_width, step)]
        return [(lane[: self._lane], lane[self._lane :]) for lane in lanes]

    def _stored(self, number):
        """Return the stored row of a word, as a number."""
        row, step = 0, self._lane + self._checks
        for index in range(self.width // self._lane):
            lane = number >> index * self._lane & (1 << self._lane) - 1
            parity = 0
            for check in range(self._checks):
                part = lane >> check * _BYTE & (1 << _BYTE) - 1
                parity |= (part.bit_count() & 1) << check
            row |= (parity << self._lane | lane) << index * step
        return row

    def elaborate(self, platform):
        m = Module()
        old = self._instance
        init = [self._stored(number) for number in old._data.init._raw]
        # Parity of a read is looked at whether or not anybody uses it.
        attrs = {name: value for name, value in old._attrs.items() if name not in UNDEFINED}
        m.submodules[self._name] = store = memory.Memory(
            shape=unsigned(self.row_width), depth=self.depth, init=init, attrs=attrs
        )
        step = self._lane + self._checks
        writes = []
        for port in old._write_ports:
            write = store.write_port(domain=port._domain, granularity=step)
            writes.append(write)
            lanes = [
                port._data[start : start + self._lane] for start in range(0, self.width, self._lane)
            ]
            row = Cat(
                Cat(lane, *(Value.cast(part).xor() for part in self._bytes(lane))) for lane in lanes
            )
            enables = Cat(bit.replicate(port._granularity // self._lane) for bit in port._en)
            m.d.comb += [
                write.addr.eq(Mux(self.sweep, self.sweep_row, port._addr)),
                write.en.eq(enables | self.sweep.replicate(len(write.en))),
                write.data.eq(row),
            ]
        errors = []
        for number, port in enumerate(old._read_ports):
            read = store.read_port(
                domain=port._domain, transparent_for=[writes[n] for n in port._transparent_for]
            )
            parts = self._parts(read.data)
            m.d.comb += [read.addr.eq(port._addr), port._data.eq(Cat(part for part, _ in parts))]
            # In two steps: block RAM is slow, and a row may be hundreds of bits wide.
            odd = Signal(len(parts) * self._checks, name=f"odd_{number}", reset_less=True)
            checked = Signal(name=f"checked_{number}")
            m.d.sync += odd.eq(
                Cat(
                    part.xor() ^ bit
                    for lane, parity in parts
                    for part, bit in zip(self._bytes(lane), parity, strict=True)
                )
            )
            if port._domain == "comb":
                m.d.comb += checked.eq(1)
            else:
                m.d.comb += read.en.eq(port._en)
                here = Signal(name=f"here_{number}")  # the data is that of a read
                m.d.sync += [here.eq(port._en), checked.eq(here)]
            errors.append(checked & odd.any())
        m.d.sync += self.error.eq(Cat(errors).any())
        return m
