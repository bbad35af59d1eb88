"""Results of a fused q, k, v projection, for benches of the units on their way."""

import numpy as np

from hw.jobs import Dest
from hw.spec.formats import BLOCK_LEN, GAIN_WIDTH, HEAD_WIDTH
from hw.spec.isa import OPERATORS
from sim.golden.rmsnorm import rms_norm
from tests.hw.vector_stream import numbers, uneven

__all__ = ["KEY", "QUERY", "VALUE", "cut", "epsilon", "head_operator", "norm_head", "projection"]

QUERY, KEY, VALUE = range(3)


def cut(vector, lanes):
    """Return the beats of a vector."""
    return [vector[at : at + lanes] for at in range(0, len(vector), lanes)]


def epsilon(rng):
    """Return an epsilon: an end of its range, or of any size."""
    return rng.choice((
        0,
        1,
        (1 << 48) - 1,
        *(rng.getrandbits(rng.randrange(1, 40)) for _ in "abc"),
    ))


def head_operator(rng, blocks):
    """Return (fields of a head_norm word, gains of q and of k)."""
    word = {"opcode": OPERATORS["head_norm"].opcode, "head_blocks": blocks}
    for name in "qk":
        word[f"shift_{name}"] = rng.choice((0, 14, 15, 16, 63))
        word[f"epsilon_{name}"] = epsilon(rng)
    return word, [numbers(rng, GAIN_WIDTH, BLOCK_LEN * blocks) for _ in range(2)]


def norm_head(x, section, word, gains):
    """Return rows of a head of q or k as the head_norm operator has them."""
    name = "qk"[section]
    shift, epsilon = word[f"shift_{name}"], word[f"epsilon_{name}"]
    return rms_norm(np.array(x), np.array(gains[section]), shift, epsilon, HEAD_WIDTH).tolist()


def projection(
    rng, config, word, gains, *, rows, heads, normed=True, dst=0, first_strip=0, draw=uneven
):
    """Return beats of all rows of q, k and v, and what leaves `HeadNorm`: dicts of data and meta.

    ``heads``: of q, and of k and v. ``dst``, ``first_strip``: block and strip of the first head of
    each section. ``draw`` makes a row, as `uneven` does.
    """
    beats, blocks = config.beats, word["head_blocks"]
    payloads, results = [], []
    for section, count in zip((QUERY, KEY, VALUE), (heads[0], heads[1], heads[1]), strict=True):
        for head in range(count):
            x = [draw(rng, HEAD_WIDTH, BLOCK_LEN * blocks) for _ in range(rows)]
            is_normed = normed and section != VALUE
            y = norm_head(x, section, word, gains) if is_normed else x
            x, y = ([cut(row, config.lanes) for row in vectors] for vectors in (x, y))
            found = {}
            for block in range(blocks):
                strip = head * blocks + block
                for row in range(rows):
                    for beat in range(beats):
                        meta = {
                            "dest": Dest.QKV,
                            "row": row,
                            "index": row,
                            "head_row": row,
                            "section": section,
                            "strip": first_strip + strip,
                            "head": head,
                            "block": block,
                            "beat": beat,
                            "dst": dst + strip,
                        }
                        place = block * beats + beat
                        payloads.append({"data": x[row][place], "meta": meta})
                        key = (row, place) if is_normed else (block, row, beat)
                        found[key] = {"data": y[row][place], "meta": meta}
            # A normed head leaves row by row, all others strip by strip.
            results += [found[key] for key in sorted(found)]
    for one in (payloads[-1], results[-1]):
        one["meta"] = one["meta"] | {"last": 1}
    return payloads, results
