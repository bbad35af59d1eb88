"""What a pass has to do, from the model's shape alone: operators, words, bytes, multiplications."""

from dataclasses import dataclass
from math import ceil

from hw.spec import layout
from hw.spec.formats import BLOCK_LEN
from hw.spec.isa import WORD_BYTES

__all__ = ["Operation", "count_passes", "operations", "roofline", "visible"]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operator of a pass.

    Members
    -------
    name, kind : str
        As the compiler calls it; its name in `hw.spec.isa.OPERATORS`.
    dest : str
        Of a linear operator, a key of `hw.spec.isa.DESTINATIONS`.
    blocks : int
        Blocks of 32 along the reduction, or of the row.
    sections : tuple of int
        Strips of each section of a linear operator.
    emits : bool
        Only the rows that give a token are taken: the last one of each segment.
    bias, normed : bool
        Strips have biases; q and k pass through the norm of heads.
    window : int
        Positions that a row sees in attention, its own included; 0 for all.
    """

    name: str
    kind: str
    dest: str = ""
    blocks: int = 0
    sections: tuple = ()
    emits: bool = False
    bias: bool = False
    normed: bool = False
    window: int = 0

    @property
    def strips(self):
        """Strips of all sections."""
        return sum(self.sections)

    def words(self, config):
        """Words of its static stream on channel 0, the fullest; of one row for the tables."""
        if self.kind == "linear":
            strips = layout.channel_strips(config, self.strips, 0)
            return strips * layout.strip_words(config, self.blocks, self.bias)
        if self.kind == "embed":
            return layout.embed_row_words(config, self.blocks)
        if self.kind == "rope":
            return layout.rope_row_words(config, self.blocks)
        if self.kind == "norm":
            return 2 * BLOCK_LEN * self.blocks // config.cols
        if self.kind == "head_norm":
            return 4 * BLOCK_LEN * self.blocks // config.cols
        return 0


def operations(shape, *, gated=True, biased=False, head_norm=False, head=True, window=0):
    """Return the list of `Operation` of one pass, as `sim.compiler.program` orders them.

    Parameters
    ----------
    shape : ModelShape
    gated : bool
        The feed-forward network has gates and ups, not gates alone.
    biased : bool
        q, k and v have biases.
    head_norm : bool
        q and k are normalised.
    head : bool
        The pass ends with a token.
    window : int
        Positions that a row sees, in every layer; 0 for all.
    """
    dim, ffn = shape.dim // BLOCK_LEN, shape.ffn // BLOCK_LEN
    size = shape.head_dim // BLOCK_LEN
    queries, keys = shape.heads * size, shape.kv_heads * size
    steps = [
        Operation(name="embed", kind="embed", blocks=dim),
        Operation(name="rope", kind="rope", blocks=size),
    ]
    for index in range(shape.layers):
        name = f"layer {index}"
        steps.append(Operation(name=f"{name} attention norm", kind="norm", blocks=dim))
        if head_norm:
            steps.append(Operation(name=f"{name} head norm", kind="head_norm", blocks=size))
        steps += [
            Operation(
                name=f"{name} qkv", kind="linear", dest="qkv", blocks=dim,
                sections=(queries, keys, keys), bias=biased, normed=head_norm,
            ),
            Operation(name=f"{name} attention", kind="attention", blocks=size, window=window),
            Operation(
                name=f"{name} o", kind="linear", dest="residual", blocks=queries, sections=(dim,)
            ),
            Operation(name=f"{name} ffn norm", kind="norm", blocks=dim),
            Operation(
                name=f"{name} glu", kind="linear", dest="glu", blocks=dim,
                sections=(ffn, ffn) if gated else (ffn,),
            ),
            Operation(
                name=f"{name} down", kind="linear", dest="residual", blocks=ffn, sections=(dim,)
            ),
        ]  # fmt: skip
    if head:
        strips = ceil(shape.vocab / BLOCK_LEN)
        steps += [
            Operation(name="final norm", kind="norm", blocks=dim, emits=True),
            Operation(
                name="logits", kind="linear", dest="logits", blocks=dim, sections=(strips,),
                emits=True,
            ),
        ]  # fmt: skip
    return [*steps, Operation(name="end", kind="end")]


def visible(segments, window=0):
    """Return how many (row, position) pairs attention must look at."""
    if not window:
        return sum(rows * first + rows * (rows + 1) // 2 for rows, first in segments)
    return sum(min(first + row + 1, window) for rows, first in segments for row in range(rows))


def _positions(rows, first, window):
    """Positions that some row of a segment sees."""
    unseen = first - window + 1 if window else 0
    return first + rows - max(0, unseen)


def _macs(shape, step, rows, segments):
    if step.kind == "linear":
        return (len(segments) if step.emits else rows) * step.strips * step.blocks * BLOCK_LEN**2
    if step.kind == "attention":
        return 2 * visible(segments, step.window) * shape.heads * shape.head_dim
    return 0


def _bytes(shape, config, step, rows, segments):
    if step.kind == "attention":
        # A position's key and value with their exponents: read by a segment, written by a row.
        heads = layout.channel_heads(config, shape.kv_heads)
        entry = heads * shape.head_dim * 2 * (BLOCK_LEN + 1) // BLOCK_LEN
        return entry * (sum(_positions(*one, step.window) for one in segments) + rows)
    per_row = step.kind in ("embed", "rope")
    return step.words(config) * config.cols * (rows if per_row else 1)


def count_passes(shape, config, steps, passes):
    """Return (bytes moved, useful multiplications) of passes, each a list of (rows, first_pos).

    Bytes are those of memory channel 0, which moves the most, multiplications those of all tiles.
    Positions are those that a row sees, P.V is counted once, and nothing is rounded up to blocks of
    positions.
    """
    moved = macs = 0
    for segments in passes:
        rows = sum(count for count, _ in segments)
        for step in steps:
            moved += WORD_BYTES + _bytes(shape, config, step, rows, segments)
            macs += _macs(shape, step, rows, segments)
    return moved, macs


def roofline(shape, config, steps, passes):
    """Return the cycles below which no chip of these ports and these arrays could be."""
    moved, macs = count_passes(shape, config, steps, passes)
    return max(moved / config.port_bytes, macs / (config.tiles * config.rows * config.cols))
