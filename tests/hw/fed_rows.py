"""What `hw.row_feeder` is to fetch and to feed, row by row, from memories of random words."""

import functools
import random

from hw.jobs import Dest
from hw.spec.formats import BLOCK_LEN, PROB_PLANE_SHIFT, PROB_WIDTH
from sim.golden.fixed import round_shift

__all__ = ["MEMORIES", "Memories", "fed_rows", "places"]

#: The read ports: what each is addressed with.
MEMORIES = {
    "act": ("act_block", "act_row"),
    "prob": ("prob_row", "prob_block", "part"),
    "value_exp": ("value_half", "value_block", "value_pos_block", "part"),
    "value_max": ("value_max_row",),
}

#: Exponents of V, and the largest of a row, which is no less: numerics.md 3.2 step 7.
EXPS, LARGEST = range(13, 25), range(24, 32)


class Memories:
    """A word at every address of every port, which follows from a seed."""

    def __init__(self, seed):
        self.seed = seed

    @functools.cache  # noqa: B019, as long as a bench runs
    def read(self, name, *address):
        rng = random.Random(f"{self.seed} {name} {address}")
        if name == "act":
            values = [rng.randrange(-128, 128) for _ in range(BLOCK_LEN)]
            return {"q": values, "exp": rng.randrange(32)}
        if name == "prob":
            return [rng.getrandbits(PROB_WIDTH) for _ in range(BLOCK_LEN)]
        if name == "value_exp":
            return [rng.choice(EXPS) for _ in range(BLOCK_LEN)]
        return rng.choice(LARGEST)


def fed_rows(config, job, bank, memories):
    """Yield the tag of each row of a job, its values, and whether a strip begins with it."""
    is_values = job["dest"] == Dest.VALUES
    subs = config.subs if job["dest"] in (Dest.SCORES, Dest.VALUES) else config.own_subs
    planes, tiles = (0, 1) if is_values else (0,), config.tiles_per_block
    heads = [(h, i) for h in range(job["heads"]) for i in range(job["head_rows"])]
    rows = [(plane, index, *place) for plane in planes for index, place in enumerate(heads)]
    for strip in range(job["strips"]):
        steps = [(s, b, t) for s in range(subs) for b in range(job["blocks"]) for t in range(tiles)]
        for sub, block, tile in steps:
            for row in rows:
                plane, index = row[:2]
                shift, values = _row(config, job, memories, strip, block, row)
                end = row == rows[-1]
                tag = {
                    "valid": 1,
                    "swap": int(row == rows[0]),
                    "addr": index * config.subs + sub,
                    "bank": bank ^ strip & 1,
                    "first": int((block, tile, plane) == (0, 0, 0)),
                    "last": int(end and (sub, block, tile) == steps[-1]),
                    "by_column": int(job["dest"] == Dest.SCORES),
                    "shift": shift,
                }
                part = values[tile * config.rows :][: config.rows]
                begins = (sub, block, tile, plane, index) == (0, 0, 0, 0, 0)
                yield tag, part, begins


def _row(config, job, memories, strip, block, row):
    """Return the exponent of a row's block, and its 32 elements: numerics.md 3.2 steps 7, 8."""
    plane, index, head, head_row = row
    half_rows = config.max_rows // 2
    if job["dest"] != Dest.VALUES:
        source = job["src"] + head * job["head_blocks"] + block
        word = memories.read("act", source % 1024, (job["row0"] + head_row) % config.max_rows)
        return word["exp"], word["q"]
    largest = memories.read("value_max", job["value_bank"] * half_rows + head_row)
    exps = memories.read("value_exp", job["value_bank"] & 1, strip & 15, job["first_block"] + block)
    probs = memories.read("prob", job["half"] * half_rows + index, block)
    folded = [int(round_shift(p, largest - e)) for p, e in zip(probs, exps, strict=True)]
    low = (1 << PROB_PLANE_SHIFT) - 1
    if plane:
        return 0, [p & low for p in folded]
    return PROB_PLANE_SHIFT, [p >> PROB_PLANE_SHIFT for p in folded]


def places(dest, strips, head_blocks):
    """Return section and strip in it of each strip in order; for q, k, v also head and block."""
    if dest == Dest.GLU and strips[1]:
        return [(section, strip) for strip in range(strips[0]) for section in (0, 1)]
    return [
        (section, strip, *(divmod(strip, head_blocks) if dest == Dest.QKV else ()))
        for section, count in enumerate(strips)
        for strip in range(count)
    ]
