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
from sim.device.device import config_words
from sim.run.golden_run import run_golden

__all__ = ["FakeChip"]

NAMES = {register.offset: name for name, register in REGISTERS.items()}


class FakeChip:
    """A `Transport` with a memory of its own: what is not pushed the chip does not see."""

    def __init__(self, model, compiled):
        self.model = model
        self.compiled = compiled
        self.memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
        self.inside = np.zeros_like(self.memory)
        self.registers = dict.fromkeys(REGISTERS, 0)
        self.registers |= {"id": ID_VALUE, "version": VERSION_VALUE}
        self.registers |= config_words(compiled.config)
        self.counters = {name: (i << 40) + 3 * i for i, name in enumerate(COUNTERS)}
        self.fails_after = None  # tokens, and then an error
        self._to_write = []

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
        name = NAMES[offset]
        if name == "irq_status":
            self.registers[name] &= ~value
        elif name != "control":
            self.registers[name] = value
        elif value & 1 << CONTROL["start"]:
            self._start()

    def _words(self, name, count):
        at = self.compiled.memory_map.offset(self.registers[name])
        return self.inside[at : at + 4 * count].view("<u4").tolist()

    def _start(self):
        registers = self.registers
        prompt = self._words("prompt_addr", registers["prompt_len"])
        self.pages = self._words("page_table_addr", registers["page_count"])
        self._to_write = run_golden(
            self.model,
            prompt,
            registers["max_tokens"],
            chunk=registers["max_prefill"] or len(prompt),
            eos_token=registers["eos_token"],
        ).tokens
        registers |= {"ring_head": 0, "status": 1 << STATUS["busy"], "error_cause": 0}

    async def interrupt(self):
        """Write two tokens at a time."""
        if self.registers["irq_status"]:
            return
        registers = self.registers
        for _ in range(2):
            head = registers["ring_head"]
            failed = self.fails_after == head
            if failed or not self._to_write:
                registers["irq_status"] |= 1 << IRQ["done"]
                registers["status"] = 1 << STATUS["error" if failed else "done"]
                if failed:
                    registers |= {"error_cause": ERRORS["page_miss"], "error_addr": 77}
                    registers["error_op"] = self.compiled.op_id("layer 0 qkv")
                return
            at = self.compiled.memory_map.offset(registers["ring_addr"])
            at += head % registers["ring_len"] * 16
            entry = np.array([self._to_write.pop(0), head, 100 * head, 0], dtype="<u4")
            self.inside[at : at + 16] = entry.view(np.uint8)
            registers["ring_head"] += 1
            registers["irq_status"] |= 1 << IRQ["token"]
