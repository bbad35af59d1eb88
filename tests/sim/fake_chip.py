"""A chip made of the golden model behind the registers, for the driver's tests."""

import numpy as np

from hw.spec.csr import (
    CONTROL,
    COUNTER_BASE,
    COUNTERS,
    ERRORS,
    ID_VALUE,
    IRQ,
    REGISTERS,
    STATUS,
    VERSION_VALUE,
)
from hw.spec.requests import (
    CANDIDATE_BYTES,
    EVENT,
    EVENT_BYTES,
    EVENT_KINDS,
    NO_CANDIDATE,
    REQUEST,
    REQUEST_BYTES,
)
from sim.device.registers import config_words
from sim.golden.sampling import Sampling
from sim.run.golden_run import run_golden

__all__ = ["FakeChip"]

SAMPLING = ("top_k", "multiplier", "shift", "seed")
NAMES = {register.offset: name for name, register in REGISTERS.items()}


def unpack(raw, layout):
    """Return the fields of packed bytes."""
    bits, values = int.from_bytes(raw, "little"), {}
    for name, width in layout:
        values[name] = bits & (1 << width) - 1
        bits >>= width
    return values


def pack(values, layout, size):
    """Return fields as bytes; those that are missing are 0."""
    bits, offset = 0, 0
    for name, width in layout:
        bits |= values.get(name, 0) << offset
        offset += width
    return bits.to_bytes(size, "little")


class FakeChip:
    """A `Transport` with a memory of its own: what is not pushed the chip does not see.

    It has ``config.max_seqs`` slots, and each `interrupt` is a token of each. What the pages hold
    it knows by the tokens that wrote them.
    """

    def __init__(self, model, compiled):
        self.model = model
        self.compiled = compiled
        self.memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
        self.inside = np.zeros_like(self.memory)
        self.registers = dict.fromkeys(REGISTERS, 0)
        self.registers |= {"id": ID_VALUE, "version": VERSION_VALUE}
        self.registers |= config_words(compiled.config)
        self.counters = {name: (i << 40) + 3 * i for i, name in enumerate(COUNTERS)}
        self.fails_after = None  # tokens of a request, and then an error of the chip
        self.requests = []  # all that were taken: fields, with prompt and pages
        self.starts = 0
        self.held = {}  # page to the tokens that lie there
        self._slots = []
        self._withdrawn = None

    async def push(self, start, stop):
        self.inside[start:stop] = self.memory[start:stop]

    async def pull(self, start, stop):
        self.memory[start:stop] = self.inside[start:stop]

    async def read(self, offset):
        if offset >= COUNTER_BASE:
            index, high = divmod(offset - COUNTER_BASE, 8)
            return self.counters[COUNTERS[index]] >> (32 if high else 0) & 0xFFFFFFFF
        return self.registers[NAMES[offset]]

    async def write(self, offset, value):
        name, registers = NAMES[offset], self.registers
        if name == "irq_status":
            registers[name] &= ~value
        elif name != "control":
            registers[name] = value
        elif value & 1 << CONTROL["start"]:
            self.starts += 1
            self._slots, self._withdrawn = [], None
            registers |= {"requests_taken": 0, "events_written": 0, "error_cause": 0}
            registers["status"] = 1 << STATUS["busy"]
        elif value & 1 << CONTROL["cancel"]:
            self._withdrawn = registers["cancel_id"]
        elif value & 1 << CONTROL["stop"]:
            self._ends(0)

    def _read(self, addr, size):
        at = self.compiled.memory_map.offset(addr)
        return self.inside[at : at + size].tobytes()

    def _words(self, addr, count):
        return np.frombuffer(self._read(addr, 4 * count), "<u4").tolist()

    def _take(self):
        registers = self.registers
        number = registers["requests_taken"] % registers["request_ring_len"]
        raw = self._read(registers["request_ring_addr"] + number * REQUEST_BYTES, REQUEST_BYTES)
        request = unpack(raw, REQUEST)
        request["prompt"] = self._words(request["prompt_addr"], request["prompt_len"])
        request["pages"] = self._words(request["page_table_addr"], request["page_count"])
        registers["requests_taken"] += 1
        self.requests.append(request)
        if max(request["pages"]) >= registers["kv_pages"]:
            self._event(request, "failed", cause=ERRORS["bad_page"], detail=max(request["pages"]))
            return
        page_len, start = self.compiled.config.page_len, request["start_pos"]
        past = [token for page in request["pages"] for token in self.held.get(page, [])][:start]
        assert len(past) == start, "the pages hold less than start_pos"
        prompt = past + request["prompt"]
        run = run_golden(
            self.model,
            prompt,
            request["max_tokens"],
            eos_token=request["eos_token"],
            sampling=Sampling(*(request[name] for name in SAMPLING)),
            report=request["report_count"],
        )
        tokens, request["candidates"] = run.tokens, run.candidates
        fed = prompt + tokens[:-1]
        for index, page in enumerate(request["pages"]):
            if index >= request["shared_pages"]:
                self.held[page] = fed[index * page_len : (index + 1) * page_len]
        self._slots.append((request, tokens))

    def _event(self, request, kind, **values):
        registers = self.registers
        written = registers["events_written"]
        assert 0 <= written - registers["events_read"] < registers["event_ring_len"]
        values |= {"request_id": request["request_id"], "kind": EVENT_KINDS[kind]}
        values |= {"cycle": (1 << 33) + written}
        at = registers["event_ring_addr"] + written % registers["event_ring_len"] * EVENT_BYTES
        at = self.compiled.memory_map.offset(at)
        raw = np.frombuffer(pack(values, EVENT, EVENT_BYTES), np.uint8)
        self.inside[at : at + EVENT_BYTES] = raw
        registers["events_written"] += 1
        registers["irq_status"] |= 1 << IRQ["event"]

    def _report(self, request, candidates):
        most = request["report_count"]
        words = np.full((most, 2), (NO_CANDIDATE, 0), "<i8")
        words[: len(candidates)] = candidates
        at = self.compiled.memory_map.offset(request["candidates_addr"])
        self.inside[at : at + most * CANDIDATE_BYTES] = words.astype("<u4").view(np.uint8).ravel()

    def _ends(self, status):
        self.registers["irq_status"] |= 1 << IRQ["done"]
        self.registers["status"] = status

    async def interrupt(self):
        """Make a token of each request that runs."""
        registers = self.registers
        if registers["irq_status"]:
            return
        while len(self._slots) < self.compiled.config.max_seqs:
            if registers["requests_taken"] == registers["requests_written"]:
                break
            self._take()
        for slot in list(self._slots):
            request, tokens = slot
            done = request.setdefault("done", 0)
            if done == self.fails_after:
                registers |= {"error_cause": ERRORS["axi_slverr"], "error_addr": 77}
                registers["error_op"] = self.compiled.op_id("layer 0 qkv")
                self._ends(1 << STATUS["error"])
                return
            if request["request_id"] == self._withdrawn:
                self._event(request, "cancelled")
            else:
                last = done == len(tokens) - 1
                position = request["start_pos"] + request["prompt_len"] + done
                kind = "end" if last else "token"
                if request["report_count"]:
                    self._report(request, request["candidates"][done])
                self._event(request, kind, token=tokens[done], position=position)
                request["done"] += 1
                if not last:
                    continue
            self._slots.remove(slot)
        if not self._slots and registers["requests_taken"] == registers["requests_written"]:
            self._ends(1 << STATUS["done"])
