"""Whether a request of the debug bridge is one that may be carried out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.spec.bridge import MAX_DATA, OPCODES, REGISTER_BYTES, REQUEST

__all__ = ["REQUEST_LAYOUT", "BridgeCheck"]

REQUEST_LAYOUT = data.StructLayout({name: 8 * size for name, size in REQUEST})


class BridgeCheck(wiring.Component):
    """Compare a request's header with `hw.spec.bridge.OPCODES`.

    Parameters
    ----------
    memory_bytes : int
        Size of the memory.
    csr_addr_width : int
        Width of a register's address.

    Members
    -------
    request : In(REQUEST_LAYOUT)
        Its header.
    data_bytes : In(10)
        Bytes that follow the header.
    is_<opcode> : Out(1)
        Which request it is.
    length_ok : Out(1)
        There is such an opcode, and its lengths are right.
    addr_ok : Out(1)
        All that it reads or writes is there, and registers are whole.

    Timing
    ------
    ``is_<opcode>`` follows its inputs by a cycle, ``length_ok`` and ``addr_ok`` by two.
    """

    def __init__(self, *, memory_bytes, csr_addr_width):
        self.memory_bytes = memory_bytes
        self.csr_addr_width = csr_addr_width
        super().__init__({
            "request": In(REQUEST_LAYOUT),
            "data_bytes": In(range(2 * MAX_DATA)),
            **{f"is_{name}": Out(1) for name in OPCODES},
            "length_ok": Out(1),
            "addr_ok": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, count = self.request, self.request.count
        has_data = Signal()
        for name, opcode in OPCODES.items():
            is_ = getattr(self, f"is_{name}")
            m.d.sync += is_.eq(request.opcode == opcode.code)
            if opcode.has_data:
                with m.If(is_):
                    m.d.comb += has_data.eq(1)

        is_register = self.is_read_register | self.is_write_register
        is_memory = self.is_read_memory | self.is_write_memory
        count_ok = Cat(
            (self.is_ping | self.is_reset) & (count == 0),
            is_register & (count == REGISTER_BYTES),
            is_memory & (count != 0) & (count <= MAX_DATA),
        ).any()
        m.d.sync += self.length_ok.eq(count_ok & (self.data_bytes == Mux(has_data, count, 0)))

        end = Signal(33)
        m.d.sync += end.eq(request.addr + count)
        with m.If(is_memory):
            m.d.sync += self.addr_ok.eq(end <= self.memory_bytes)
        with m.Elif(is_register):
            m.d.sync += self.addr_ok.eq(
                (request.addr[:2] == 0) & (request.addr >> self.csr_addr_width == 0)
            )
        with m.Else():
            m.d.sync += self.addr_ok.eq(1)
        return m
