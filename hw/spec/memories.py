"""Names of the memories on the chip, as errors of parity tell them."""

import re

__all__ = ["MEMORIES", "memory_code", "memory_name", "plain_path"]

#: Paths of units, without numbers. Position is what counts: add new ones at the end.
MEMORIES = (
    "core.tile.streamer.waiting.memory",
    "core.tile.streamer.asked.memory",
    "core.tile.matmul.acc.sums",
    "core.tile.matmul.exponents",
    "core.tile.drain.multiplier",
    "core.tile.drain.low",
    "core.tile.drain.high",
    "core.tile.drain.requantiser.results.queue.memory",
    "core.tile.exponents.words",
    "core.tile.exponents.maxima",
    "core.tile.scores.softmax.sums.memory",
    "core.tile.scores.softmax.exp",
    "core.tile.scores.scores",
    "core.tile.scores.maxima",
    "core.tile.scores.scales",
    "core.tile.scores.probs",
    "core.scheduler.admission.owners.pages",
    "core.scheduler.admission.numbers",
    "core.scheduler.pass_rows.places",
    "core.scheduler.pass_rows.tokens",
    "core.scheduler.pass_rows.pass_segments",
    "core.scheduler.pass_rows.emit_rows",
    "core.scheduler.pass_rows.draws",
    "core.scheduler.runs",
    "core.pages.pages",
    "core.row_tables.embedding.results.queue.memory",
    "core.norm.norm.results.queue.memory",
    "core.norm.gains",
    "core.results.qkv.rope.results.queue.memory",
    "core.results.qkv.table",
    "core.results.qkv.norm.words",
    "core.results.qkv.norm.orms",
    "core.results.glu.activation.results.queue.memory",
    "core.results.glu.activation.gates",
    "core.results.glu.gates",
    "core.results.quantiser.buffer",
    "core.activations.words",
    "core.residual.words",
    "core.residual.orms",
    "core.choice.sampler.candidates.lists",
    "core.choice.sampler.candidates.lasts",
    "core.choice.sampler.tokens",
    "core.choice.sampler.sums",
    "core.choice.sampler.exp",
    "core.choice.choices",
    "memory.stream.cutter.waiting.memory",
    "memory.stream.beats.memory",
    "memory.stream.sent.memory",
    "memory.fetch.cutter.waiting.memory",
    "memory.fetch.beats.memory",
    "memory.fetch.sent.memory",
    "memory.write.cutter.waiting.memory",
    "memory.write.sent.memory",
    "memory.write.lengths.memory",
)

_NUMBER = re.compile(r"_(\d+)(?=\.|$)")
_NUMBER_BITS = 8


def memory_code(path):
    """Return the number of a memory: its place in `MEMORIES`; above, the numbers in its path.

    Bits 7..0 are the place, 15..8 the first number (of the tile or the lane), 23..16 the second.

    Raises
    ------
    ValueError
        If it has no name in `MEMORIES`.
    """
    plain = plain_path(path)
    if plain not in MEMORIES:
        raise ValueError(f"path must be one of hw.spec.memories.MEMORIES, not {path!r}")
    code = MEMORIES.index(plain)
    for place, number in enumerate(_NUMBER.findall(path), start=1):
        code |= int(number) << place * _NUMBER_BITS
    return code


def memory_name(code):
    """Return what `memory_code` made a number from, for people to read: name, then its numbers."""
    place, *numbers = (code >> shift & 0xFF for shift in range(0, 3 * _NUMBER_BITS, _NUMBER_BITS))
    if place >= len(MEMORIES):
        return f"{code:#x}"
    return f"{MEMORIES[place]} ({numbers[0]}, {numbers[1]})"


def plain_path(path):
    """Return a path without its numbers: a name of `MEMORIES`, if it is a memory with parity."""
    return _NUMBER.sub("", path)
