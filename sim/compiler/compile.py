"""A quantised model becomes a memory image and a program for one configuration."""

from dataclasses import dataclass

import numpy as np

from hw.spec import isa, layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from hw.spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT
from sim.compiler.error import CompileError
from sim.compiler.memory_map import ALIGN_BYTES, REGION_BYTES, MemoryMap, round_up
from sim.compiler.program import build_program
from sim.golden.model import ModelShape

__all__ = ["CompiledModel", "compile_model"]


@dataclass(frozen=True)
class CompiledModel:
    """A program, the data it reads, and where both lie.

    Parameters
    ----------
    config : ArchConfig
        The configuration it was compiled for.
    shape : ModelShape
        The model's sizes.
    memory_map : MemoryMap
        Regions of the memory.
    steps : tuple of Step
        The operators: ``steps[op_id]``.
    addresses : tuple of int
        Address of each operator's data; 0 where it has none.
    program : tuple of bytes
        Operator words.
    """

    config: ArchConfig
    shape: ModelShape
    memory_map: MemoryMap
    steps: tuple
    addresses: tuple
    program: tuple

    @property
    def names(self):
        """Names of the operators, ``names[op_id]``: the golden model's, rope, head norms, end."""
        return tuple(step.name for step in self.steps)

    def op_id(self, name):
        """Return the op_id of the operator called ``name``."""
        if name not in self.names:
            raise ValueError(f"operator must be one of {', '.join(self.names)}, not {name!r}")
        return self.names.index(name)

    def fill(self, memory):
        """Write program and data into ``memory``: uint8, all zeros, ``size_bytes`` long."""
        words = b"".join(self.program)
        memory[: len(words)] = np.frombuffer(words, dtype=np.uint8)
        channels = memory.reshape(self.memory_map.channels, -1)
        for step, addr in zip(self.steps, self.addresses, strict=True):
            if step.stream:
                offset = self.memory_map.offset(addr)
                step.stream.fill(channels[:, offset : offset + step.stream.size])

    def write_image(self, path):
        """Write the whole memory as a file, the KV and host regions as zeros; return it mapped.

        Its channels follow each other, ``channel_bytes`` each.
        """
        memory = np.memmap(path, dtype=np.uint8, mode="w+", shape=(self.memory_map.size_bytes,))
        self.fill(memory)
        memory.flush()
        return memory


def compile_model(model, config, *, context=None, page_count=None, image_base=0):
    """Compile a model for a configuration.

    Parameters
    ----------
    model : QuantisedModel
        The model.
    config : ArchConfig
        The hardware.
    context : int
        Positions of one sequence; by default the most that model and configuration allow.
    page_count : int
        Pages of the KV region; by default those of one sequence, or as many as the chip has.
    image_base : int
        Address of the memory's first byte.

    Returns
    -------
    CompiledModel
        Its image is made when it is written.

    Raises
    ------
    CompileError
        Sizes that the configuration cannot hold, tensors of the wrong shape or type, numbers that
        their field cannot hold, or more memory than 32-bit addresses reach.
    """
    if context is None:
        context = min(model.shape.context, config.max_context)
    _check_sizes(model.shape, config, context)
    _check_tensors(model)
    steps = build_program(model, config, context=context)

    offset = len(steps) * isa.WORD_BYTES
    addresses = []
    for step in steps:
        offset = round_up(offset, ALIGN_BYTES)
        addresses.append(image_base + offset if step.stream else 0)
        offset += step.stream.size if step.stream else 0

    shape = model.shape
    size = layout.page_bytes(config, shape.head_dim // BLOCK_LEN, shape.kv_heads, shape.layers)
    sequence_pages = -(-context // config.page_len)
    if page_count is None:
        page_count = min(sequence_pages, config.kv_pages)
    elif not 1 <= page_count <= config.kv_pages:
        raise CompileError(
            f"page_count must be 1 to {config.kv_pages} (kv_pages), not {page_count}"
        )
    memory_map = MemoryMap(
        image_base=image_base,
        image_bytes=offset,
        page_bytes=round_up(size, REGION_BYTES),
        page_count=page_count,
        sequence_pages=sequence_pages,
        context=context,
        vocab=shape.vocab,
        channels=config.tiles,
    )
    program = tuple(
        _encode(op_id, step, addr)
        for op_id, (step, addr) in enumerate(zip(steps, addresses, strict=True))
    )
    return CompiledModel(config, shape, memory_map, tuple(steps), tuple(addresses), program)


def _encode(op_id, step, addr):
    words = step.stream.words if step.stream else 0
    try:
        return isa.encode(step.operator, op_id=op_id, addr=addr, words=words, **step.fields)
    except ValueError as error:
        raise CompileError(f"{step.name}: {error}") from None


def _check_sizes(shape, config, context):
    def at_most(what, value, limit, name):
        if value > limit:
            raise CompileError(f"the model's {what} must be at most {name} ({limit}), not {value}")

    at_most("dim", shape.dim, config.max_dim, "max_dim")
    at_most("head_dim", shape.head_dim, config.max_head_dim, "max_head_dim")
    for name in ("dim", "head_dim", "ffn"):
        value = getattr(shape, name)
        if value < 1 or value % BLOCK_LEN:
            raise CompileError(
                f"the model's {name} must be a positive multiple of {BLOCK_LEN}, not {value}"
            )
    if shape.kv_heads < 1 or shape.heads % shape.kv_heads:
        raise CompileError(
            f"the model's heads must be a multiple of kv_heads ({shape.kv_heads}), "
            f"not {shape.heads}"
        )
    # A chunk of attention has a row for each query head of a KV head, at least.
    at_most("heads for each KV head", shape.heads // shape.kv_heads, config.max_rows, "max_rows")
    limit = min(shape.context, config.max_context)
    if not 1 <= context <= limit:
        raise CompileError(
            f"context must be 1 to {limit} (the model reaches {shape.context} positions, "
            f"max_context is {config.max_context}), not {context}"
        )


def _check_tensors(model):
    shape = model.shape

    def check(name, array, dtype, expected):
        if array.dtype != dtype or array.shape != expected:
            raise CompileError(
                f"{name} must be {np.dtype(dtype)} of shape {expected}, "
                f"not {array.dtype} of shape {array.shape}"
            )

    def check_table(name, elements, multiplier, rows):
        check(name, elements, np.int8, (rows, dim))
        check(f"{name}_multiplier", multiplier, np.uint16, (rows,))

    def check_linear(name, linear, outputs, inputs):
        check(f"{name}.weight", linear.weight, np.int8, (outputs, inputs))
        check(f"{name}.multiplier", linear.multiplier, np.uint16, (outputs,))
        if linear.bias is not None:
            check(f"{name}.bias", linear.bias, np.int32, (outputs,))

    dim, ffn = shape.dim, shape.ffn
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    check_table("embedding", model.embedding, model.embedding_multiplier, shape.vocab)
    if model.positions is not None:
        check_table("positions", model.positions, model.positions_multiplier, shape.context)
    check("rope", model.rope, np.int16, (shape.context, shape.head_dim // 2, 2))
    if len(model.layers) != shape.layers:
        raise CompileError(f"the model must have {shape.layers} layers, not {len(model.layers)}")
    for index, layer in enumerate(model.layers):
        name = f"layer {index} "
        check(name + "attention_norm.gain", layer.attention_norm.gain, np.int16, (dim,))
        check(name + "ffn_norm.gain", layer.ffn_norm.gain, np.int16, (dim,))
        if (layer.q_norm is None) != (layer.k_norm is None):
            raise CompileError(f"{name}must have both q_norm and k_norm, or neither")
        if layer.q_norm:
            check(name + "q_norm.gain", layer.q_norm.gain, np.int16, (shape.head_dim,))
            check(name + "k_norm.gain", layer.k_norm.gain, np.int16, (shape.head_dim,))
        check_linear(name + "q", layer.q, queries, dim)
        check_linear(name + "k", layer.k, keys, dim)
        check_linear(name + "v", layer.v, keys, dim)
        check_linear(name + "o", layer.o, dim, queries)
        check_linear(name + "gate", layer.gate, ffn, dim)
        if layer.up:
            check_linear(name + "up", layer.up, ffn, dim)
        check_linear(name + "down", layer.down, dim, ffn)
        if layer.activation not in ACTIVATIONS:
            raise CompileError(
                f"{name}activation must be one of {', '.join(ACTIVATIONS)}, "
                f"not {layer.activation!r}"
            )
        if not 0 <= layer.table_shift <= MAX_TABLE_SHIFT:
            raise CompileError(
                f"{name}table_shift must be 0 to {MAX_TABLE_SHIFT}, not {layer.table_shift}"
            )
    check("final_norm.gain", model.final_norm.gain, np.int16, (dim,))
    check_linear("head", model.head, shape.vocab, dim)
