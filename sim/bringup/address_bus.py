"""Address lines of the memory: which is dead, joined to another, or exchanged with another.

A block of words is written at address 0 and at each power of two, and all are read. Each word has
its block's number and its place, so that a word in a wrong place tells where it was meant to be.

Lines that are exchanged with each other on the way to the chip only rename its words, which nobody
can see and which does no harm; unless one of them counts inside of a burst.
"""

import struct

from sim.bringup.data_bus import LINES
from sim.bringup.rung import RungFailed

__all__ = ["BLOCK_BYTES", "check", "diagnose", "line_name"]

BLOCK_BYTES = 32
_WORD_BYTES = LINES // 8
_WORDS = BLOCK_BYTES // _WORD_BYTES
# Of an address, as `hw.board.sdram_cutter` takes it apart: byte 1, column 9, bank 2, row 13.
_COLUMN, _BANK, _ROW = 1, 10, 12


def line_name(bit):
    """Return the SDRAM's pin that a bit of an address goes to."""
    if bit < _COLUMN:
        return "byte mask"
    if bit < _BANK:
        return f"A{bit - _COLUMN} (column)"
    if bit < _ROW:
        return f"BA{bit - _BANK}"
    return f"A{bit - _ROW} (row)"


def blocks(memory_bytes):
    """Return the addresses of the blocks; the block of an address bit has the bit's number."""
    first = BLOCK_BYTES.bit_length() - 1
    bits = range(first, memory_bytes.bit_length() - 1)
    return {0: 0} | {bit: 1 << bit for bit in bits}


def _word(block, place):
    return block << 8 | 0xA0 | place


def check(target):
    """Write and read the blocks; return what was found."""
    addresses = blocks(target.transport.info["memory_bytes"])
    form = f"<{_WORDS}H"
    target.write([
        (addr, struct.pack(form, *(_word(block, place) for place in range(_WORDS))))
        for block, addr in addresses.items()
    ])
    answers = target.read([(addr, BLOCK_BYTES) for addr in addresses.values()])
    found = {
        block: struct.unpack(form, answer) for block, answer in zip(addresses, answers, strict=True)
    }
    names = diagnose(found, target.settings.config.port_bytes // _WORD_BYTES)
    if names:
        block, place = next(
            (block, place)
            for block, words in found.items()
            for place in range(_WORDS)
            if words[place] != _word(block, place)
        )
        raise RungFailed(
            "address bus: " + "; ".join(names),
            expected=f"{_word(block, place):#06x} at {addresses[block] + 2 * place:#x}",
            got=f"{found[block][place]:#06x}",
            look="solder joints and pins of these lines, and their order in the platform file",
        )
    return f"address bus: {len(addresses) - 1} bits from bit {min(b for b in addresses if b)} on"


def diagnose(found, burst_words):
    """Return what is wrong with the lines, a list of names.

    Parameters
    ----------
    found : dict
        Number of each block to its words as they were read.
    burst_words : int
        Words that the chip counts through by itself.
    """
    home = {_word(block, place): (block, place) for block in found for place in range(_WORDS)}
    names, joined, lost = [], {}, []
    for block, words in found.items():
        places = [home.get(word) for word in words]
        if places == [(block, place) for place in range(_WORDS)]:
            continue
        owners = {place[0] for place in places if place}
        if None in places or len(owners) != 1:
            lost.append(block)
            continue
        (owner,) = owners
        turned = {(at - place[1]) % burst_words for at, place in enumerate(places)}
        if owner == block or len(turned) != 1:
            lost.append(block)
            continue
        (turn,) = turned
        if turn:
            line = turn.bit_length() - 1 + _COLUMN
            names.append(f"{line_name(line)} and {line_name(owner)} are exchanged")
        elif block == 0:
            names.append(f"{line_name(owner)} is dead")
        else:
            joined.setdefault(owner, []).append(block)
    for owner, others in joined.items():
        names += [f"{line_name(other)} and {line_name(owner)} are joined" for other in others]
    if lost and not names:
        where = ", ".join(f"{1 << block if block else 0:#x}" for block in lost)
        names.append(f"words at {where} are no block's")
    return names
