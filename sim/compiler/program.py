"""The operators of one pass over a model, in order, and where each finds its data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from hw.spec import layout
from hw.spec.formats import BLOCK_LEN
from hw.spec.isa import DESTINATIONS
from hw.spec.tables import ACTIVATIONS
from sim.compiler import image
from sim.compiler.error import CompileError

__all__ = ["Step", "Stream", "allocate", "build_program"]


@dataclass(frozen=True)
class Stream:
    """Static data of an operator.

    Members
    -------
    size : int
        Bytes in every memory channel.
    words : int
        The operator word's field: the length of what one operator reads.
    fill : callable
        Writes them into zeros: uint8 (channels, size).
    """

    size: int
    words: int
    fill: Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Step:
    """One operator: the golden model's name for it, its name in `isa.OPERATORS`, fields, data."""

    name: str
    operator: str
    fields: dict
    stream: Stream | None = None


def allocate(shape, config):
    """Return the first block of the activation memory of ``h``, ``q``, ``mixed`` and ``ffn``.

    ``h``, what a norm writes, and ``mixed``, what attention writes, never live at the same time,
    nor do ``q`` and ``ffn``. Nothing is written while its own operator reads the same blocks.

    Raises
    ------
    CompileError
        The configuration has too few blocks.
    """
    dim, heads, ffn = (
        length // BLOCK_LEN for length in (shape.dim, shape.heads * shape.head_dim, shape.ffn)
    )
    upper = max(dim, heads)
    needed = upper + max(heads, ffn)
    if needed > config.act_blocks:
        raise CompileError(
            f"the model needs {needed} blocks of activation memory a row, "
            f"and act_blocks is {config.act_blocks}"
        )
    return {"h": 0, "mixed": 0, "q": upper, "ffn": upper}


def build_program(model, config, *, context):
    """Return the list of `Step` that one pass runs.

    Parameters
    ----------
    model : QuantisedModel
        Already checked against the configuration.
    config : ArchConfig
        What the program is for.
    context : int
        Positions that the tables of positions have rows for.
    """
    shape = model.shape
    at = allocate(shape, config)
    dim_blocks, head_blocks = shape.dim // BLOCK_LEN, shape.head_dim // BLOCK_LEN
    head_stride = layout.head_bytes(config, head_blocks)

    def first_channel(size, words, pack):
        return Stream(size, words, lambda out: pack(out[0]))

    def gains(*norms):
        size = image.norms_bytes(norms)
        return first_channel(size, size // config.cols, partial(image.pack_norms, norms))

    def norm(name, norm, **fields):
        fields |= {"blocks": dim_blocks, "shift": norm.shift, "epsilon": norm.epsilon}
        return Step(name, "norm", {"dst": at["h"], **fields}, gains(norm))

    def embed(name, elements, multiplier, shift, **fields):
        rows, length = elements.shape
        stream = first_channel(
            image.table_bytes(config, rows, length),
            layout.embed_row_words(config, dim_blocks),
            partial(image.pack_table, config, elements, multiplier),
        )
        return Step(
            name, "embed", {"shift": shift, "blocks": dim_blocks, "valid": rows, **fields}, stream
        )

    def head_norm(name, q, k):
        fields = {
            "head_blocks": head_blocks,
            "shift_q": q.shift,
            "shift_k": k.shift,
            "epsilon_q": q.epsilon,
            "epsilon_k": k.epsilon,
        }
        return Step(name, "head_norm", fields, gains(q, k))

    def linear(name, dest, sections, src, **fields):
        size = image.linear_bytes(config, sections)
        fill = partial(image.pack_linear, config, sections, alternate=dest == "glu")
        for index, section in enumerate(sections):
            fields |= {
                f"strips{index}": image.strip_count(section),
                f"shift1_{index}": section.shift1,
                f"shift2_{index}": section.shift2,
            }
        blocks = sections[0].weight.shape[1] // BLOCK_LEN
        bias = any(section.bias is not None for section in sections)
        fields |= {
            "dest": DESTINATIONS[dest],
            "bias": bias,
            "blocks": blocks,
            "src": at[src],
            "strip_words": layout.strip_words(config, blocks, bias),
        }
        return Step(name, "linear", fields, Stream(size, size // config.cols, fill))

    def layer_steps(index, layer):
        name = f"layer {index}"
        cache = {
            "head_blocks": head_blocks,
            "kv_offset": index * layout.channel_heads(config, shape.kv_heads) * head_stride,
            "head_stride": head_stride,
        }
        yield norm(f"{name} attention norm", layer.attention_norm)
        if layer.q_norm:
            yield head_norm(f"{name} head norm", layer.q_norm, layer.k_norm)
        qkv = (layer.q, layer.k, layer.v)
        normed = layer.q_norm is not None
        yield linear(f"{name} qkv", "qkv", qkv, "h", dst=at["q"], head_norm=normed, **cache)
        yield Step(
            f"{name} attention",
            "attention",
            {
                "q_src": at["q"],
                "dst": at["mixed"],
                "kv_heads": shape.kv_heads,
                "group": shape.group,
                "shift": layer.score_shift,
                "window": layer.window,
                **cache,
            },
        )
        yield linear(f"{name} o", "residual", (layer.o,), "mixed")
        yield norm(f"{name} ffn norm", layer.ffn_norm)
        yield linear(
            f"{name} glu",
            "glu",
            (layer.gate, layer.up) if layer.up else (layer.gate,),
            "h",
            dst=at["ffn"],
            activation=ACTIVATIONS[layer.activation],
            table_shift=layer.table_shift,
            glu_shift=layer.glu_shift,
        )
        yield linear(f"{name} down", "residual", (layer.down,), "ffn")

    rope = first_channel(
        image.rope_bytes(config, model, context),
        layout.rope_row_words(config, head_blocks),
        partial(image.pack_rope, config, model, context),
    )
    steps = [
        embed("embed", model.embedding, model.embedding_multiplier, model.embedding_shift),
        Step("rope", "rope", {"blocks": head_blocks}, rope),
    ]
    if model.positions is not None:
        elements, multiplier = model.positions[:context], model.positions_multiplier[:context]
        learned = embed("positions", elements, multiplier, model.positions_shift, positions=1)
        steps.insert(1, learned)
    for index, layer in enumerate(model.layers):
        steps += layer_steps(index, layer)
    steps.append(norm("final norm", model.final_norm, emit_rows=1, emit_only=1))
    steps.append(
        linear("logits", "logits", (model.head,), "h", valid=shape.vocab, emit_rows=1, emit_only=1)
    )
    steps.append(Step("end", "end", {}))
    return steps
