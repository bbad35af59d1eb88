"""Runs a program on the board, and compares all that a host can see with golden."""

import zlib
from dataclasses import dataclass

import numpy as np

from sim.compiler.host_image import HostImage
from sim.device.device import Device
from sim.device.error import BadAnswer, RequestFailed
from sim.run.compare import Mismatch, compare_cache, compare_candidates, compare_tokens
from sim.run.golden_run import GoldenRun, run_golden

__all__ = ["CACHE_PARTS", "Execution", "execute"]

CACHE_PARTS = ("k", "k_exponents", "v", "v_exponents")
_CRC_FORM = "08x"


@dataclass(frozen=True)
class Execution:
    """What the board did, and what it should have done.

    Members
    -------
    golden : GoldenRun
        What golden says.
    tokens, candidates : list
        Tokens; (token, logit) of the largest logits behind the last of them.
    cycles : list of int
        When each token was written, in cycles since the start.
    cache : HeadCache
        Keys and values, as `HostImage.read_cache` returns them; None if they were not compared.
    first : Mismatch
        The first difference; None if there is none.
    counters : dict
        As `Registers.counters` returns them.
    """

    golden: GoldenRun
    tokens: list
    candidates: list
    cycles: list
    cache: object
    first: Mismatch | None
    counters: dict

    def checksums(self):
        """Return the checksums of all that was compared: expected, got."""
        return tuple(
            format(zlib.crc32(_bytes(*parts)), _CRC_FORM)
            for parts in (
                (self.golden.tokens, self.golden.candidates[-1], self.expected_cache()),
                (self.tokens, self.candidates, self.cache),
            )
        )

    def expected_cache(self):
        """Return golden's part of what ``cache`` has, None if that is None."""
        if self.cache is None:
            return None
        end = self.golden.length
        return _Cache({p: getattr(self.golden.cache, p)[:, :, :end] for p in CACHE_PARTS})


class _Cache:
    def __init__(self, parts):
        self.__dict__.update(parts)


def _bytes(tokens, candidates, cache):
    text = repr([*map(int, tokens), *((int(t), int(logit)) for t, logit in candidates)]).encode()
    if cache is not None:
        text += b"".join(np.ascontiguousarray(getattr(cache, p)).tobytes() for p in CACHE_PARTS)
    return text


def execute(target, compiled, model, prompt, tokens, *, has_cache=True):
    """Run one request from the image that is loaded; return its `Execution`.

    Parameters
    ----------
    compiled : CompiledModel
        Its program is written in front of the data that is loaded.
    model : QuantisedModel
        What golden computes with.
    prompt, tokens
        Tokens; how many to write.
    has_cache : bool
        Whether keys and values are read and compared.

    Raises
    ------
    DeviceError
        From the driver.
    """
    report = compiled.config.list_len
    golden = run_golden(model, prompt, tokens, report=report)
    return target.run(_execute(target, compiled, golden, prompt, tokens, report, has_cache))


async def _execute(target, compiled, golden, prompt, tokens, report, has_cache):
    transport = target.transport
    device = Device(transport, compiled)
    words = b"".join(compiled.program)
    transport.memory[: len(words)] = np.frombuffer(words, np.uint8)
    await transport.push(0, len(words))
    await device.attach()
    page_len = compiled.config.page_len
    pages = list(range(-(-golden.length // page_len)))
    request = await device.submit(prompt, tokens, pages=pages, report=report)
    await device.start()
    written, cycles, event = [], [], None
    async for event in device.events():
        if event.request_id != request:
            raise BadAnswer(f"an event is not of request {request}: {event}")
        if event.kind == "failed":
            raise RequestFailed(event)
        if len(written) == tokens:
            raise BadAnswer(f"an event comes after the last of {tokens} tokens: {event}")
        written.append(event.token)
        cycles.append(event.cycle)
    total = compare_tokens(golden, written)
    try:
        candidates = device.candidates(request)
    except ValueError as error:
        raise BadAnswer(f"{error}; its last event: {event}") from error
    total += compare_candidates(golden, candidates, count=len(golden.tokens))
    cache = None
    if has_cache:
        memory_map = compiled.memory_map
        for page in pages:
            start = memory_map.offset(memory_map.page_addr(page))
            await transport.pull(start, start + memory_map.page_bytes)
        host = HostImage(compiled, transport.memory)
        cache = host.read_cache(pages, golden.length)
        # Keys and values come first: they tell most about where a difference began.
        total = compare_cache(host, golden, pages) + total
    counters = await device.counters()
    return Execution(golden, written, candidates, cycles, cache, total.first, counters)
