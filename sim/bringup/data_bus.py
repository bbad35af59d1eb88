"""Data lines of the memory: which is stuck, joined to another, or exchanged with another."""

from itertools import combinations

from sim.bringup.rung import RungFailed

__all__ = ["LINES", "check", "diagnose"]

LINES = 16  #: of the memory's data bus
_WORDS = [
    *(1 << line for line in range(LINES)),
    *(0xFFFF ^ 1 << line for line in range(LINES)),
    0x0000, 0xFFFF, 0x5555, 0xAAAA,
]  # fmt: skip
_LOOK = "solder joints and pins of the data lines; if all differ, whether the SDRAM came up (lamp)"


def check(target):
    """Write a walking one and a walking zero at address 0; return what was found.

    One word after the other, so that no address line has a say.
    """
    size = LINES // 8
    answers = target.exchange([
        request
        for word in _WORDS
        for request in (
            ("write_memory", 0, size, word.to_bytes(size, "little")),
            ("read_memory", 0, size, b""),
        )
    ])
    got = [int.from_bytes(answer, "little") for answer in answers[1::2]]
    names = diagnose(got)
    if names:
        at = next(i for i, word in enumerate(_WORDS) if got[i] != word)
        raise RungFailed(
            "data bus: " + "; ".join(names),
            expected=f"{_WORDS[at]:016b} (D15 to D0) at address 0",
            got=f"{got[at]:016b}",
            look=_LOOK,
        )
    return f"data bus: {LINES} lines, walking ones and zeros"


def diagnose(got):
    """Return what is wrong with the lines, a list of names, from the words that were read."""
    if list(got) == _WORDS:
        return []
    columns = [[word >> line & 1 for word in got] for line in range(LINES)]
    wanted = [[word >> line & 1 for word in _WORDS] for line in range(LINES)]
    bad = [line for line in range(LINES) if columns[line] != wanted[line]]
    stuck = {line: columns[line][0] for line in bad if len(set(columns[line])) == 1}
    if len(stuck) == LINES:
        return [f"nothing but {got[0]:#06x} is read: the memory does not answer"]
    names = [f"D{line} is stuck at {level}" for line, level in stuck.items()]
    rest = [line for line in bad if line not in stuck]
    for one, other in combinations(rest, 2):
        if columns[one] == wanted[other] and columns[other] == wanted[one]:
            names.append(f"D{one} and D{other} are exchanged")
        elif columns[one] == columns[other]:
            names.append(f"D{one} and D{other} are joined")
        else:
            continue
        rest = [line for line in rest if line not in (one, other)]
    if rest:
        names.append(f"D{', D'.join(map(str, rest))} {'is' if len(rest) == 1 else 'are'} unsteady")
    return names
