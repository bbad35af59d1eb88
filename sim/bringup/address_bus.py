"""Address lines of the memory: which is dead, joined to another, or exchanged with another.

A block of words is written at address 0 and at each power of two, and all are read. Each word has
its block's number and its place, so that a word in a wrong place tells where it was meant to be.
A block is one burst of the memory, a beat of the chip's port, so that every line has a block but
those that the memory counts by itself.

Lines that are exchanged with each other on the way to the chip only rename its words, which nobody
can see and which does no harm; unless one of them counts inside of a burst.
"""

import struct

from sim.bringup.data_bus import LINES
from sim.bringup.rung import RungFailed

__all__ = ["check", "diagnose", "line_name"]

_WORD_BYTES = LINES // 8
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


def blocks(memory_bytes, block_bytes):
    """Return the addresses of the blocks; the block of an address bit has the bit's number."""
    first = block_bytes.bit_length() - 1
    bits = range(first, memory_bytes.bit_length() - 1)
    return {0: 0} | {bit: 1 << bit for bit in bits}


def _word(block, place):
    return block << 8 | 0xA0 | place


def check(target):
    """Write and read the blocks; return what was found."""
    block_bytes = target.settings.config.port_bytes
    words = block_bytes // _WORD_BYTES
    addresses = blocks(target.transport.info["memory_bytes"], block_bytes)
    form = f"<{words}H"
    target.write([
        (addr, struct.pack(form, *(_word(block, place) for place in range(words))))
        for block, addr in addresses.items()
    ])
    answers = target.read([(addr, block_bytes) for addr in addresses.values()])
    found = {
        block: struct.unpack(form, answer) for block, answer in zip(addresses, answers, strict=True)
    }
    names = diagnose(found)
    if names:
        block, place = next(
            (block, place)
            for block, got in found.items()
            for place in range(words)
            if got[place] != _word(block, place)
        )
        raise RungFailed(
            "address bus: " + "; ".join(names),
            expected=f"{_word(block, place):#06x} at {addresses[block] + 2 * place:#x}",
            got=f"{found[block][place]:#06x}",
            look="solder joints and pins of these lines, and their order in the platform file",
        )
    lowest = line_name(min(bit for bit in addresses if bit))
    return f"address bus: {len(addresses) - 1} lines, from {lowest} on"


def diagnose(found):
    """Return what is wrong with the lines, a list of names.

    Parameters
    ----------
    found : dict
        Number of each block to its words as they were read.
    """
    count = len(found[0])
    home = {_word(block, place): (block, place) for block in found for place in range(count)}
    names, joined, lost = [], {}, []
    for block, words in found.items():
        places = [home.get(word) for word in words]
        if places == [(block, place) for place in range(count)]:
            continue
        owners = {place[0] for place in places if place}
        if None in places or len(owners) != 1:
            lost.append(block)
            continue
        (owner,) = owners
        turned = {(at - place[1]) % count for at, place in enumerate(places)}
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
