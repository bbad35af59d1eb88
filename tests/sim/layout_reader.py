"""Reads memory images byte by byte, straight from the text of `hw/spec/layout.py`."""

import itertools

__all__ = ["read_embedding", "read_head", "read_linear", "read_norm", "read_rope"]


class _Cursor:
    """Takes little-endian numbers from a place that moves on."""

    def __init__(self, memory, addr):
        self.memory = memory
        self.addr = addr

    def take(self, size, signed):
        raw = bytes(self.memory[self.addr : self.addr + size])
        self.addr += size
        return int.from_bytes(raw, "little", signed=signed)


def read_linear(channels, addr, config, blocks, strips, bias):
    """Return strips as dicts, and where the operator ends in each of the memory channels.

    A strip: multipliers, biases (or None), weight[channel][element].
    """
    places = [_Cursor(memory, addr) for memory in channels]
    assert len(places) == config.tiles
    sharers = 1  # tiles with a part of each strip
    while 2 * sharers <= config.tiles and 32 // (2 * sharers) >= config.cols:
        sharers *= 2
    turns = [places[first : first + sharers] for first in range(0, config.tiles, sharers)]
    result = []
    for strip in range(strips):
        whole = {"multiplier": [], "bias": [] if bias else None, "weight": []}
        for at in turns[strip % len(turns)]:
            _read_share(at, config, blocks, 32 // sharers, whole)
        result.append(whole)
    return result, [at.addr for at in places]


def _read_share(at, config, blocks, share, whole):
    whole["multiplier"] += [at.take(2, False) for _ in range(share)]
    if whole["bias"] is not None:
        low = [at.take(2, False) for _ in range(share)]
        high = [at.take(2, True) for _ in range(share)]
        whole["bias"] += [h * 65536 + x for x, h in zip(low, high, strict=True)]
    weight = [[None] * (32 * blocks) for _ in range(share)]
    for substrip in range(share // config.cols):
        for block, element in itertools.product(range(blocks), range(32)):
            for channel in range(config.cols):
                value = at.take(1, True)
                weight[substrip * config.cols + channel][block * 32 + element] = value
    whole["weight"] += weight


def read_norm(memory, addr, blocks):
    at = _Cursor(memory, addr)
    return [at.take(2, True) for _ in range(32 * blocks)], at.addr


def _align(config):
    return max(config.port_bytes, config.cols, 2 * config.lanes)


def _next_row(config, addr):
    while addr % _align(config):
        addr += 1
    return addr


def read_embedding(memory, addr, config, blocks, rows):
    """Return (multiplier, elements) of every row."""
    result = []
    for _ in range(rows):
        at = _Cursor(memory, addr)
        multiplier = at.take(2, False)
        assert not any(at.take(1, False) for _ in range(2 * config.lanes - 2))
        result.append((multiplier, [at.take(1, True) for _ in range(32 * blocks)]))
        addr = _next_row(config, at.addr)
    return result, addr


def read_rope(memory, addr, config, blocks, rows):
    """Return [(cosine, sine), ...] of every row."""
    result = []
    for _ in range(rows):
        at = _Cursor(memory, addr)
        result.append([(at.take(2, True), at.take(2, True)) for _ in range(16 * blocks)])
        addr = _next_row(config, at.addr)
    return result, addr


def read_head(memory, addr, config, blocks):
    """Return k[position][element], k_exponents[position][block], and v likewise."""
    at = _Cursor(memory, addr)
    positions = range(config.page_len)
    k, v = ([[None] * (32 * blocks) for _ in positions] for _ in range(2))
    k_exponents, v_exponents = ([[None] * blocks for _ in positions] for _ in range(2))
    for group in range(config.page_len // config.cols):
        first = group * config.cols
        for block in range(blocks):
            for lane in range(config.cols):
                k_exponents[first + lane][block] = at.take(1, False)
            for element in range(32):
                for lane in range(config.cols):
                    k[first + lane][block * 32 + element] = at.take(1, True)
    for block in range(blocks):
        for position in positions:
            v_exponents[position][block] = at.take(1, False)
    for block in range(blocks):
        for substrip in range(32 // config.cols):
            for position in positions:
                for lane in range(config.cols):
                    v[position][block * 32 + substrip * config.cols + lane] = at.take(1, True)
    return (k, k_exponents, v, v_exponents), at.addr
