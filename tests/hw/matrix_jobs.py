"""Matrix jobs of all kinds at random: their words, and every beat of their results."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Shape

from hw.jobs import Dest, RowScale, matmul_job
from hw.row_feeder import feed_ports
from hw.spec.formats import ACC_WIDTH, BLOCK_LEN, PROB_WIDTH
from sim.compiler import image
from sim.golden.fixed import round_shift, saturate
from sim.golden.matmul import dot, scaled
from sim.golden.requantise import requantise
from tests.hw.fed_rows import places
from tests.hw.linear_jobs import WIDTHS, random_linear, random_rows
from tests.support.bench import pack

__all__ = ["FILLED", "MatrixJob", "Surroundings", "linear_results", "stream_words"]

#: Blocks of the activation memory that jobs at random read.
FILLED = 24
#: Strips, and blocks of a reduction, of a job at random: at most.
_MOST = 3


def stream_words(config, linear):
    """Return the words of a linear operator's stream, a row of signed bytes each."""
    out = np.zeros(image.linear_bytes(config, [linear]), dtype=np.uint8)
    image.pack_linear(config, [linear], out)
    return out.view(np.int8).reshape(-1, config.cols)


class Surroundings:
    """What the read ports of a matrix unit meet, at random.

    ``served`` are the memories that a bench plays: of each port for data its words by address, the
    ports of that, and the enable. Of the activation memory it has `FILLED` blocks from ``first``.
    """

    def __init__(self, config, rng, *, first):
        self.config = config
        self.first = first
        rows = config.max_rows
        self.values, self.exponents = random_rows(rng, rows, FILLED * BLOCK_LEN)
        self.probs = rng.integers(0, 1 << PROB_WIDTH, (rows, _MOST, BLOCK_LEN))
        # Numbers that leave most results neither 0 nor saturated.
        spans = config.max_context // BLOCK_LEN
        self.value_exps = rng.integers(16, 25, (2, _MOST, spans, BLOCK_LEN))
        self.largest = rng.integers(24, 30, (_MOST, 2 * rows))
        self.scales = [
            {
                "shift1": int(rng.integers(22, 32)),
                "reciprocal": int(rng.integers(1 << 15, (1 << 16) + 1)),
                "shift2": int(rng.integers(15, 20)),
            }
            for _ in range(rows)
        ]
        ports = feed_ports(config)

        def words(name, numbers, depth):
            cells = np.ndindex(numbers.shape[:depth])
            return {at: pack(ports[name].shape, numbers[at].tolist()) for at in cells}

        def parts(blocks):
            return blocks.reshape(*blocks.shape[:-1], -1, config.feed_len)

        largest = words("value_max", self.largest, 2)
        scales = {(row,): pack(RowScale, scale) for row, scale in enumerate(self.scales)}
        self.served = (
            ("prob", words("prob", parts(self.probs), 3), ("prob_row", "prob_block", "part"), None),
            (
                "value_exp", words("value_exp", parts(self.value_exps), 4),
                ("value_half", "value_block", "value_pos_block", "part"), None,
            ),
            ("value_max", largest, ("value_block", "value_max_row"), None),
            (
                "drain_value_max", largest,
                ("drain_value_max_block", "drain_value_max_row"), "drain_value_max_en",
            ),
            ("drain_scale", scales, ("drain_scale_row",), "drain_scale_en"),
        )  # fmt: skip


@dataclass
class MatrixJob:
    """A job: its fields, the words of its stream, and each beat of its results with its label.

    ``weights`` and ``rows``: how many words are weights, how many rows are fed.
    """

    fields: dict
    words: list
    results: list
    weights: int
    rows: int

    @classmethod
    def random(cls, rng, dest, around, *, small=False):
        """Return a job of a destination with all else at random; small: few rows and strips."""
        config = around.config
        counts = {Dest.QKV: (2 - small, 1, 1), Dest.GLU: (2, 2, 0)}.get(
            dest, (int(rng.integers(1, 3 if small else _MOST + 1)), 0, 0)
        )
        is_attention = dest in (Dest.SCORES, Dest.VALUES)
        blocks = 1 if small else int(rng.integers(1, 3))
        half = int(rng.integers(2))
        # Of attention a half of the scores has room for so many rows.
        room = 2 if small else config.max_rows // (1 + half if is_attention else 1)
        heads = int(rng.choice([n for n in (1, 2, 3, room) if n <= room]))
        head_rows = int(rng.integers(1, room // heads + 1))
        reach = 15 if heads == 1 else min(15, (FILLED - blocks) // (heads - 1))
        head_blocks = int(rng.integers(1, 3) if dest == Dest.QKV else rng.integers(reach + 1))
        src = int(rng.integers(FILLED - blocks - (heads - 1) * head_blocks + 1))
        fields = {
            name: int(rng.integers(1 << Shape.cast(shape).width))
            for name, shape in matmul_job(config).members.items()
        } | {
            **{"dest": dest, "strips": sum(counts), "blocks": blocks, "half": half},
            **{"heads": heads, "head_rows": head_rows, "head_blocks": head_blocks},
            "src": around.first + src,
            "row0": int(rng.integers(config.max_rows - head_rows + 1)),
            # Attention has no biases.
            "bias": 0 if is_attention else int(rng.integers(2)),
            "value_bank": int(rng.integers(4)) & (2 if 2 * head_rows > config.max_rows else 3),
            "first_block": int(rng.integers(config.max_context // BLOCK_LEN - blocks + 1)),
        }  # fmt: skip
        for n in range(3):
            # Together they leave some bits of a result, or only its bias.
            both = int(rng.integers(26, 37))
            shift2 = int(rng.integers(both + 1))
            shift1 = int(rng.integers(32, 64)) if rng.random() < 0.1 else both - shift2
            fields |= {f"strips{n}": counts[n], f"shift1_{n}": shift1, f"shift2_{n}": shift2}
        make = {Dest.SCORES: _scores, Dest.VALUES: _values}.get(dest, _linear)
        words, sums = make(rng, fields, around)
        tiles = sum(counts) * blocks * BLOCK_LEN**2 // (config.rows * config.cols)
        return cls(
            fields=fields,
            words=words.reshape(-1, config.cols).tolist(),
            results=list(_beats(config, fields, sums)),
            weights=tiles * config.rows,
            rows=tiles * heads * head_rows * (2 if dest == Dest.VALUES else 1),
        )


def linear_results(config, fields, linear, values, exponents):
    """Yield the label and the lanes of each beat of a linear operator's job."""
    return _beats(config, fields, _linear_sums(fields, linear, values, exponents))


def _linear_sums(fields, linear, values, exponents, first=0):
    """Return how to compute the results of a strip of a section, for a head."""

    def results(number, section, head):
        outputs = slice(number * BLOCK_LEN, (number + 1) * BLOCK_LEN)
        sums = dot(*_fed(fields, head, values, exponents, first), linear.weight[outputs])
        bias = None if linear.bias is None else linear.bias[outputs]
        shifts = fields[f"shift1_{section}"], fields[f"shift2_{section}"]
        return requantise(sums, linear.multiplier[outputs], *shifts, WIDTHS[fields["dest"]], bias)

    return results


def _fed(fields, head, values, exponents, first):
    """Return the rows of a head, from those of the memory from block ``first`` on."""
    rows = slice(fields["row0"], fields["row0"] + fields["head_rows"])
    begin = fields["src"] - first + head * fields["head_blocks"]
    end = begin + fields["blocks"]
    return values[rows, begin * BLOCK_LEN : end * BLOCK_LEN], exponents[rows, begin:end]


def _linear(rng, fields, around):
    inputs = fields["blocks"] * BLOCK_LEN
    linear = random_linear(rng, fields["strips"] * BLOCK_LEN, inputs, fields["bias"])
    sums = _linear_sums(fields, linear, around.values, around.exponents, around.first)
    return stream_words(around.config, linear), sums


def _scores(rng, fields, around):
    """Keys of some positions, each with an exponent for each block."""
    config = around.config
    strips, blocks = fields["strips"], fields["blocks"]
    keys = rng.integers(-127, 128, (strips * BLOCK_LEN, blocks * BLOCK_LEN), dtype=np.int8)
    memory = around.values, around.exponents, around.first
    fed = [_fed(fields, head, *memory) for head in range(fields["heads"])]
    # An exact sum has 48 bits, which takes both exponents.
    most = min(31, 29 - max(int(exponents.max()) for _, exponents in fed))
    exponents = rng.integers(0, most + 1, (strips * BLOCK_LEN, blocks), dtype=np.uint8)
    exponents[:: int(rng.integers(3, 7))] = most
    fields["shift1_0"] = int(rng.integers(12, 26))
    groups = (-1, config.cols, blocks)
    elements = keys.reshape(*groups, BLOCK_LEN).transpose(0, 2, 3, 1)
    before = exponents.reshape(groups).transpose(0, 2, 1)[:, :, None].view(np.int8)

    def results(number, section, head):
        outputs = slice(number * BLOCK_LEN, (number + 1) * BLOCK_LEN)
        sums = dot(*fed[head], scaled(keys, exponents)[outputs])
        assert np.abs(sums).max() < 1 << (ACC_WIDTH - 1)
        return saturate(round_shift(sums, fields["shift1_0"]), WIDTHS[Dest.SCORES])

    return np.concatenate([before, elements], axis=2), results


def _values(rng, fields, around):
    """Values of some positions; exponents are folded into probabilities: numerics.md 3.2 step 7."""
    config = around.config
    strips, blocks, bank = fields["strips"], fields["blocks"], fields["value_bank"]
    half_rows = config.max_rows // 2
    v = rng.integers(-127, 128, (strips * BLOCK_LEN, blocks * BLOCK_LEN), dtype=np.int8)
    words = v.reshape(strips, config.subs, config.cols, -1).transpose(0, 1, 3, 2)

    def results(number, section, head):
        part = v[number * BLOCK_LEN : (number + 1) * BLOCK_LEN].astype(np.int64)
        visited = slice(fields["first_block"], fields["first_block"] + blocks)
        exps = around.value_exps[bank & 1, number, visited].reshape(-1)
        rows = []
        for row in range(fields["head_rows"]):
            index = fields["half"] * half_rows + head * fields["head_rows"] + row
            largest = int(around.largest[number, bank * half_rows + row])
            folded = round_shift(around.probs[index, :blocks].reshape(-1), largest - exps)
            scale = around.scales[index]
            shift1 = scale["shift1"] - largest
            factors = scale["reciprocal"], shift1, scale["shift2"]
            rows.append(requantise(part @ folded, *factors, WIDTHS[Dest.VALUES]))
        return np.stack(rows)

    return words, results


def _beats(config, fields, results):
    """Yield the label and the lanes of each beat of a job."""
    rows = range(fields["head_rows"])
    beats = [(row, beat) for row in rows for beat in range(config.beats)]
    counts = [fields[f"strips{n}"] for n in range(3)]
    wanted = places(fields["dest"], counts, fields["head_blocks"])
    for number, place in enumerate(wanted):
        section, strip = place[:2]
        for head in range(fields["heads"]):
            y = results(number, section, head)
            for row, beat in beats:
                end = (head, row, beat) == (fields["heads"] - 1, *beats[-1])
                index = head * fields["head_rows"] + row
                label = {
                    "dest": fields["dest"].value,
                    "row": fields["row0"] + row,
                    "index": (fields["half"] * config.max_rows // 2 + index) % config.max_rows,
                    "half": fields["half"],
                    "head_row": row,
                    **dict(zip(("section", "strip", "head", "block"), place, strict=False)),
                    "beat": beat,
                    "dst": (fields["dst"] + head * fields["head_blocks"] + strip) % 1024,
                    "strip_end": int(end),
                    "last": int(end and number == len(wanted) - 1),
                }
                yield label, y[row, beat * config.lanes :][: config.lanes].tolist()
