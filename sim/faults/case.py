"""Which faults a campaign makes: each follows from the seed and its number alone."""

import random
from dataclasses import dataclass

from sim.faults.injector import FAULTS

__all__ = ["DRIVER", "KINDS", "Case", "case_of"]

#: Kinds of faults, in the order in which numbers go through them; most are in protected memories.
KINDS = (
    *("memory",) * 13, "counters", "stream", "dram_ecc", "dram", "axi", "stall", "reset",
)  # fmt: skip

#: How an error begins that the driver found, and not the chip.
DRIVER = "the driver"

_SLVERR, _DECERR = 2, 3
_STALLS = {1: "reads", 2: "writes", 4: "addresses", 7: "everything"}


@dataclass(frozen=True)
class Case:
    """A fault.

    Members
    -------
    number : int
        In the campaign.
    kind : str
        One of `KINDS`.
    where : str
        What is hit: path of a memory or register, or a few words.
    cycle : int
        After the start.
    target : int
        Number of the `Target`; None for a fault that is none of a bit in the chip.
    row, bit : int
        Of the target.
    fault, a, b : int
        Of the memory channel: one of `FAULTS` and its arguments; None if it is none.
    ecc : bool
        Whether the memory has ECC.
    reset : int
        Cycles of reset, or 0.
    """

    number: int
    kind: str
    where: str
    cycle: int
    target: int | None = None
    row: int = 0
    bit: int = 0
    fault: int | None = None
    a: int = 0
    b: int = 0
    ecc: bool = False
    reset: int = 0


def case_of(number, *, seed, targets, cycles, spans):
    """Return a fault.

    Parameters
    ----------
    number, seed : int
    targets : list of Target
        All memories and registers.
    cycles : int
        Length of a run without fault.
    spans : list of (int, int)
        Bytes of the memory channel that a run uses, each from and to.
    """
    rng = random.Random(f"{seed} {number}")
    kind = KINDS[number % len(KINDS)]
    cycle = rng.randrange(cycles)
    rounds = number // len(KINDS)
    if kind in ("memory", "counters", "stream"):
        chosen = [
            index
            for index, target in enumerate(targets)
            if (kind == "memory") == target.protected and (kind == "stream") == (target.depth == 0)
        ]
        # Every memory is as likely, whatever its size.
        step = KINDS.count(kind)
        place = rounds * step + (number % len(KINDS) if kind == "memory" else 0)
        index = chosen[place % len(chosen)] if kind == "memory" else rng.choice(chosen)
        target = targets[index]
        # A short run uses the first rows most.
        row = int(target.depth * rng.random() ** 2)
        bit = rng.randrange(target.width)
        return Case(number, kind, target.path, cycle, index, row, bit)
    if kind in ("dram", "dram_ecc"):
        begin, end = rng.choice(spans)
        addr, bits = rng.randrange(begin, end), 1 << rng.randrange(8)
        double = kind == "dram_ecc" and rounds % 2 == 1
        if double:
            bits |= 1 << (bits.bit_length() % 8)
        ecc = kind == "dram_ecc"
        where = f"memory, {'ECC' if ecc else 'no ECC'}, {'two bits' if double else 'one bit'}"
        return Case(number, kind, where, cycle, fault=FAULTS["flip"], a=addr, b=bits, ecc=ecc)
    if kind == "axi":
        answer = rng.choice((_SLVERR, _DECERR))
        where = "SLVERR" if answer == _SLVERR else "DECERR"
        return Case(number, kind, where, cycle, fault=FAULTS["answer"], a=answer)
    if kind == "stall":
        what = rng.choice(list(_STALLS))
        where = f"no more {_STALLS[what]}"
        return Case(number, kind, where, cycle, fault=FAULTS["stall"], a=what)
    return Case(number, kind, "reset in the run", cycle, reset=rng.randrange(2, 6))
