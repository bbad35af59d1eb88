"""A board in plain Python, with faults: bridge, SDRAM, and a chip made of the golden model."""

import time

import numpy as np

from hw.spec.bridge import config_digest
from hw.spec.csr import CONTROL, REGISTERS, STATUS
from hw.spec.isa import WORD_BYTES, decode
from sim.bringup.programs import PROGRAMS, compiled_for, model_of
from sim.compiler.host_image import HostImage
from sim.compiler.kv_page import HeadCache
from sim.device.error import PortError
from sim.run.golden_run import run_golden
from tests.sim.bridge_model import BridgeModel
from tests.sim.fake_chip import NAMES, FakeChip

__all__ = ["CLOCK_HZ", "FakeBoard", "FakeLine", "FakeMemory"]

CLOCK_HZ = 1_000_000
PARTS = ("k", "k_exponents", "v", "v_exponents")


def run_alone(coroutine):
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        return stopped.value
    raise AssertionError("the coroutine waits")


class FakeMemory:
    """An SDRAM of 16 data lines.

    ``data(word)`` and ``place(word address)`` say what lines make of a word and of where it goes;
    with ``retention`` (seconds) a row of 1 KB that was not touched for so long is spoilt.
    """

    def __init__(self, size, *, data=None, place=None, retention=None):
        self.bytes = bytearray(size)
        self._data, self._place, self._retention = data, place, retention
        self._touched = {}

    def __len__(self):
        return len(self.bytes)

    def _refresh(self, addr, count):
        if self._retention is None:
            return
        for row in range(addr >> 10, (addr + count - 1 >> 10) + 1):
            now = time.monotonic()
            if now - self._touched.get(row, now) > self._retention:
                self.bytes[row << 10 : row + 1 << 10] = b"\x55\x55\xaa\xaa" * 256
            self._touched[row] = now

    def _places(self, addr, count):
        assert addr % 2 == count % 2 == 0
        words = range(addr // 2, (addr + count) // 2)
        return [(self._place(w) if self._place else w) * 2 for w in words]

    def read(self, addr, count):
        self._refresh(addr, count)
        if not self._data and not self._place:
            return bytes(self.bytes[addr : addr + count])
        words = (
            int.from_bytes(self.bytes[at : at + 2], "little") for at in self._places(addr, count)
        )
        return b"".join((self._data or int)(word).to_bytes(2, "little") for word in words)

    def write(self, addr, data):
        self._refresh(addr, len(data))
        if not self._place:
            self.bytes[addr : addr + len(data)] = data
            return
        for index, at in enumerate(self._places(addr, len(data))):
            self.bytes[at : at + 2] = data[2 * index : 2 * index + 2]


class Chip(FakeChip):
    """A chip with one compiled model, which also writes keys and values, and counts.

    ``spoil_cache(parts)`` and ``spoil_candidates(list)`` are what is wrong with it.
    """

    def __init__(self, model, compiled, board):
        super().__init__(model, compiled)
        self.whole = model
        self.board = board

    def holds_image(self, memory):
        """Return whether the memory has this model's data, whatever the program is."""
        memory_map = self.compiled.memory_map
        if self.registers["image_limit"] != memory_map.image_limit:
            return False
        image = np.zeros(memory_map.size_bytes, np.uint8)
        self.compiled.fill(image)
        start = memory_map.offset(min(addr for addr in self.compiled.addresses if addr))
        end = memory_map.offset(memory_map.image_limit)
        return bytes(memory[start:end]) == image[start:end].tobytes()

    def choose_model(self, memory):
        """Take the golden model of the program that lies in memory."""
        names, at = [], 0
        while not names or names[-1] != "end":
            _, fields = decode(bytes(memory[at : at + WORD_BYTES]))
            names.append(self.compiled.names[fields["op_id"]])
            at += WORD_BYTES
        self.key = next((k for k, p in PROGRAMS.items() if p.steps == tuple(names)), None)
        self.model = self.whole if names == [*self.compiled.names] else None
        if self.model is None:
            self.model = PROGRAMS[self.key].golden_model()

    def _take(self):
        super()._take()
        request, tokens = self._slots[-1]
        run = run_golden(self.model, request["prompt"], request["max_tokens"])
        config = self.compiled.config
        shape, page_len = self.compiled.shape, config.page_len
        host = HostImage(self.compiled, self.inside)
        for index, page in enumerate(request["pages"]):
            span = slice(index * page_len, (index + 1) * page_len)
            for layer in range(shape.layers):
                for head in range(shape.kv_heads):
                    parts = {p: getattr(run.cache, p)[layer, head, span].copy() for p in PARTS}
                    self.board.spoil_cache(self.key, parts)
                    host.write_head(page, layer, head, HeadCache(**parts))
        request["candidates"] = [
            self.board.spoil_candidates(self.key, found) for found in request["candidates"]
        ]
        count = len(tokens)
        self.counters = dict.fromkeys(self.counters, 0) | {
            "tokens": count, "passes": count, "cycles": 1000 * count, "read_beats": 300 * count,
            "write_beats": 10 * count, "weight_words": 500 * count, "array_rows": 70 * count,
        }  # fmt: skip


class FakeBoard(BridgeModel):
    """A board.

    Parameters
    ----------
    config : ArchConfig
        Of its chip.
    models : list of (QuantisedModel, CompiledModel)
        That it may be asked to run, beside those of `PROGRAMS`.
    memory : FakeMemory
        Its memory.
    clock_hz : float
        Of its clock, which it says is `CLOCK_HZ`.
    """

    def __init__(self, config, models=(), *, memory=None, clock_hz=CLOCK_HZ, **options):
        super().__init__(
            FakeMemory(1 << 20) if memory is None else memory,
            {register.offset: 0 for register in REGISTERS.values()},
            **{"digest": config_digest(config), "clock_hz": CLOCK_HZ} | options,
        )
        self.real_clock_hz = clock_hz
        self.spoil_cache = lambda key, parts: None
        self.spoil_candidates = lambda key, found: found
        self.register_value = lambda name, value: value
        own = {program.model: program for program in PROGRAMS.values()}
        chips = [
            Chip(model_of(name), compiled_for(name, config), self) for name, program in own.items()
        ]
        chips += [Chip(model, compiled, self) for model, compiled in models]
        self.values = chips[0].registers
        for chip in chips:
            chip.registers = self.values
        self._reset_values = dict(self.values)
        self._chips = chips
        self._chip = None

    def _ping(self, nonce):
        self.ping["cycles"] = int(time.monotonic() * self.real_clock_hz)
        return super()._ping(nonce)

    def _carry_out(self, name, addr, count, data):
        if name == "reset":
            self.values.update(self._reset_values)
        if name.endswith("register") and not addr % 4 and addr < 1 << 12:
            return self._register(name, addr, int.from_bytes(data, "little"))
        if name.endswith("memory") and addr + count <= len(self.memory):
            if name == "read_memory":
                return "ok", self.memory.read(addr, count)
            self.memory.write(addr, data)
            return "ok", b""
        return super()._carry_out(name, addr, count, data)

    def _register(self, name, addr, value):
        chip = self._chip or self._chips[0]
        if name == "read_register":
            if addr == REGISTERS["irq_status"].offset and self._chip:
                self._inside(chip, chip.interrupt())
            word = run_alone(chip.read(addr))
            return "ok", self.register_value(NAMES.get(addr), word).to_bytes(4, "little")
        if REGISTERS[NAMES[addr]].access == "ro":
            return "bus_error", b""
        if addr == REGISTERS["control"].offset and value & 1 << CONTROL["start"]:
            found = [chip for chip in self._chips if chip.holds_image(self.memory.bytes)]
            if not found:
                self.values["status"] = 1 << STATUS["error"]
                self.values["irq_status"] = 0b110
                self._chip = None
                return "ok", b""
            chip = self._chip = found[0]
            chip.choose_model(self.memory.bytes)
        self._inside(chip, chip.write(addr, value))
        return "ok", b""

    def _inside(self, chip, coroutine):
        """Run a coroutine of a chip, which sees this memory."""
        size = len(chip.inside)
        chip.inside[:] = np.frombuffer(self.memory.bytes[:size], np.uint8)
        run_alone(coroutine)
        self.memory.bytes[:size] = chip.inside.tobytes()


class FakeLine:
    """A channel to a `FakeBoard`, in no time; ``to_board`` says what becomes of bytes."""

    def __init__(self, board, *, to_board=None, breaks_after=None):
        self.name = "the line"
        self._board = board
        self._to_board = to_board or (lambda data: data)
        self._left = breaks_after
        self._heard = bytearray()
        self.closed = False

    def write(self, data):
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise PortError(f"port {self.name} is gone: was the cable pulled?")
        self._heard += self._board.feed(self._to_board(data))

    def read(self, timeout):
        data, self._heard = bytes(self._heard), bytearray()
        return data

    def close(self):
        self.closed = True
