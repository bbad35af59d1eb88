"""Bench for `test_batch`: requests that a driver would refuse, among others."""

import json
import pickle
import random
from pathlib import Path

import cocotb
import numpy as np

from hw.spec.csr import ERRORS
from sim.run.inside import connect
from tests.support.bench import params

CAUSES = {code: name for name, code in ERRORS.items()}
TOP = (1 << 32) - 1


class Bench:
    """A device with random bytes in its KV region; what becomes of each request, by number."""

    def __init__(self, device):
        self.device = device
        self.map = device.compiled.memory_map
        self.memory = device.transport.memory
        self.found = {}
        kv = self.of(self.map.kv_base, self.map.kv_limit)
        kv[:] = np.random.default_rng(1).integers(256, size=len(kv), dtype=np.uint8)

    def of(self, start, stop):
        """Return the memory between two addresses."""
        return self.memory[self.map.offset(start) : self.map.offset(stop)]

    def expect(self, number, good=None):
        """Note a request; ``good``: which of those that must end well."""
        fields = self.device.fields_of(number)
        self.found[number] = {
            "good": good,
            "tokens": [],
            "start_pos": fields["start_pos"],
            "end": fields["start_pos"] + fields["prompt_len"],
            "pages": self.device.pages_of(number),
        }

    def note(self, event):
        one = self.found[event.request_id]
        one |= {"kind": event.kind, "cause": CAUSES[event.cause], "detail": event.detail}
        if event.kind in ("token", "end"):
            one["tokens"].append(event.token)

    def leave(self):
        Path(params()["found"]).write_text(json.dumps(self.found))


async def begin(dut):
    compiled = pickle.loads(Path(params()["compiled"]).read_bytes())
    return Bench(await connect(dut, compiled, params()["image.bin"]))


@cocotb.test()
async def page_miss(dut):
    bench = await begin(dut)
    device, count = bench.device, params()["max_tokens"]
    first, lost, last = params()["prompts"]
    bench.expect(await device.submit(first, count), 0)
    # Two pages are needed.
    bench.expect(await device.submit_unchecked(lost, device.pages.allocate(1), max_tokens=count))
    bench.expect(await device.submit(last, count), 2)
    await device.start()
    async for event in device.events():
        bench.note(event)
    bench.leave()


class Attack:
    """Requests of random numbers, and page tables that name others' pages."""

    def __init__(self, rng, bench, pages, victims):
        self.rng, self.map, self.device = rng, bench.map, bench.device
        self.pages, self.victims = pages, victims
        config = bench.device.compiled.config
        self.numbers = {
            "prompt_len": (0, 1, self.map.context, self.map.context + 1, 1 << 31, TOP),
            "max_tokens": (0, 1, TOP),
            "start_pos": (0, config.page_len - 1, config.page_len, self.map.context, TOP - 4, TOP),
            "page_count": (0, 1, config.max_pages, config.max_pages + 1, 0xFFFF),
            "shared_pages": (0, 1, 2, 0xFFFF),
            # What lies at the end of the host's region is 0.
            "prompt_addr": (0, 1, self.map.kv_base, self.map.host_limit - 4, TOP),
            "page_table_addr": (
                0, 1, self.map.image_base, self.map.host_limit - 4, self.map.host_limit, TOP,
            ),
        }  # fmt: skip

    async def submit(self):
        """Hand over one of them; return its number."""
        rng = self.rng
        kind = rng.choice(("table", "table", "fields", "noise"))
        prompt = [rng.randrange(self.map.vocab) for _ in range(rng.randint(1, 40))]
        outside = (self.map.page_count, TOP, rng.randrange(self.map.page_count, TOP))
        table = rng.sample(self.pages, len(self.pages))[: rng.randint(1, 4)]
        fields = {"max_tokens": rng.randint(1, 6)}
        if kind == "table":
            wrong = rng.choice((self.victims, self.victims, self.pages, outside))
            table[rng.randrange(len(table))] = rng.choice(wrong)
            fields["start_pos"] = rng.choice((0, 32))
            fields["shared_pages"] = fields["start_pos"] // 32
        elif kind == "fields":
            for name in rng.sample(sorted(self.numbers), rng.randint(1, 3)):
                fields[name] = rng.choice(self.numbers[name])
        else:
            for name in self.numbers:
                fields[name] = rng.getrandbits(16 if name in ("page_count", "shared_pages") else 32)
        number = await self.device.submit_unchecked(prompt, [0] * len(table), **fields)
        if kind != "noise" and "page_table_addr" not in fields:
            at = self.map.offset(self.device.fields_of(number)["page_table_addr"])
            self.device.transport.memory[at : at + 4 * len(table)].view("<u4")[:] = table
        return number


@cocotb.test()
async def attack(dut):
    """Long requests hold pages that bad ones name; others come later, with pages of their own."""
    bench = await begin(dut)
    device, memory_map = bench.device, bench.map
    rng = random.Random(params()["seed"])
    prompts, counts = params()["prompts"], params()["counts"]
    page_len = device.compiled.config.page_len
    pages, tables = list(range(memory_map.page_count)), []
    enemy, untouched = pages[:4], pages[-3:]  # page 0 is what a table of zeros names
    free = pages[4:-3]
    for prompt, count in zip(prompts, counts, strict=True):
        needed = -(-(len(prompt) + count - 1) // page_len)
        tables.append([free.pop() for _ in range(needed)])
    bad = Attack(rng, bench, enemy, tables[0] + tables[1])
    before = bench.memory.copy()
    image = slice(0, memory_map.offset(memory_map.kv_base))
    rings = memory_map.offset(memory_map.host_base)
    events = memory_map.offset(memory_map.event_ring_addr)
    places = memory_map.offset(memory_map.prompt_addr(0))

    def check():
        """Of image and host region the chip has written events only."""
        for part in (image, slice(rings, events), slice(places, None)):
            assert (bench.memory[part] == before[part]).all()
        for page in untouched:
            at = memory_map.offset(memory_map.page_addr(page))
            part = slice(at, at + memory_map.page_bytes)
            assert (bench.memory[part] == before[part]).all()

    async def submit(good):
        check()
        if good is None:
            number = await bad.submit()
        else:
            number = await device.submit(prompts[good], counts[good], pages=tables[good])
        bench.expect(number, good)
        before[rings:] = bench.memory[rings:]
        return number

    waiting = [None] * 50 + list(range(2, len(prompts)))
    rng.shuffle(waiting)
    await submit(0)
    await submit(1)
    for _ in range(6):
        await submit(waiting.pop())
    await device.start()
    before[rings:] = bench.memory[rings:]  # the driver has written the ring
    async for event in device.events():
        bench.note(event)
        if waiting and len(device.outstanding) < 12:
            number = await submit(waiting.pop())
            if bench.found[number]["good"] is None and rng.random() < 0.2:
                await device.cancel(number)
    check()
    assert not waiting
    bench.leave()
