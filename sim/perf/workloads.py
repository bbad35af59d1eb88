"""What is measured: random models of given shapes, and the passes that run over them."""

import dataclasses
from dataclasses import dataclass
from functools import cache

import numpy as np

from hw.spec.formats import BLOCK_LEN, FFN_WIDTH, HEAD_WIDTH, RESIDUAL_WIDTH, ROPE_FRACTION
from sim.compiler.compile import compile_model
from sim.compiler.kv_page import HeadCache
from sim.golden.model import Layer, Linear, ModelShape, Norm, QuantisedModel
from sim.perf.operations import operations

__all__ = ["CLOCKS", "SHAPES", "WORKLOADS", "Workload", "build", "fill_cache", "random_model"]

SEED = 7

#: Two of the 30 layers of SmolLM2-135M, and as much of its vocabulary of 49152.
_SMOLLM2 = ModelShape(
    layers=2, dim=576, heads=9, kv_heads=3, head_dim=64, ffn=1536, vocab=3264, context=1024
)
SHAPES = {
    "smollm2": _SMOLLM2,
    "smollm2-whole": dataclasses.replace(_SMOLLM2, layers=30, vocab=49152),
    "smollm2-layer": dataclasses.replace(_SMOLLM2, layers=1, vocab=64),
    "default": ModelShape(
        layers=5, dim=128, heads=4, kv_heads=2, head_dim=32, ffn=352, vocab=1024, context=512
    ),
    "gemm": ModelShape(
        layers=1, dim=1024, heads=32, kv_heads=32, head_dim=32, ffn=1024, vocab=32, context=128
    ),
    "little": ModelShape(
        layers=2, dim=128, heads=4, kv_heads=2, head_dim=32, ffn=352, vocab=256, context=256
    ),
}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Passes of one sequence, or of several alike, over one model.

    Parameters
    ----------
    name : str
        As the table shows it.
    shape : str
        One of `SHAPES`.
    start : int
        Positions that are in the cache already.
    prompt : int
        Tokens of the prompt.
    tokens : int
        Tokens that are written.
    only : str
        Run the operators whose names end in this, and no others.
    head : bool
        Whether the passes end with the logits.
    sequences : int
        Sequences side by side; several only with a prompt of one token.
    window : int
        Positions that a row sees, in every layer; 0 for all.
    options : tuple of str
        Of ``biased``, ``head_norm``, ``ungated``: what the model has, as `sim.perf.operations`.
    goal : float
        Share of the roofline that is aimed at; None for none.
    speedup_goal : float
        The same on one tile takes so many times as long, or more; None for no goal.
    rate_goal : float
        Tokens per second at the preset's clock; None for no goal.
    """

    name: str
    shape: str
    start: int = 0
    prompt: int = 1
    tokens: int = 1
    only: str = ""
    head: bool = True
    sequences: int = 1
    window: int = 0
    options: tuple = ()
    goal: float | None = None
    speedup_goal: float | None = None
    rate_goal: float | None = None

    def __post_init__(self):
        if self.sequences > 1 and self.prompt > 1:
            raise ValueError(
                f"several sequences must have a prompt of 1 token, not {self.prompt} tokens"
            )

    def pages(self, config):
        """Return how many pages each sequence has."""
        return -(-(self.start + self.prompt + self.tokens) // config.page_len)

    def steps(self):
        """Return the `Operation` list of its passes."""
        steps = operations(
            SHAPES[self.shape],
            gated="ungated" not in self.options,
            biased="biased" in self.options,
            head_norm="head_norm" in self.options,
            head=self.head,
            window=self.window,
        )
        return [step for step in steps if step.name.endswith(self.only) or step.kind == "end"]

    def passes(self, config):
        """Return the segments of each pass: a list of (rows, position of the first)."""
        passes, pos, left = [], self.start, self.prompt
        while left:
            rows = min(left, config.max_rows)
            passes.append([(rows, pos)] * self.sequences)
            pos, left = pos + rows, left - rows
        return passes + [[(1, pos + index)] * self.sequences for index in range(self.tokens - 1)]


#: Clock of presets made for a board, in Hz.
CLOCKS = {"kv260": 250e6}

#: By preset.
WORKLOADS = {
    "small": (
        Workload(name="decode, SmolLM2, context 512", shape="smollm2", start=512, tokens=2,
                 goal=0.95),
        Workload(name="decode, batch 16, SmolLM2, context 512", shape="smollm2", start=512,
                 tokens=2, sequences=16, goal=0.93),
        Workload(name="decode, default model, context 128", shape="default", start=128, tokens=4,
                 goal=0.85),
        Workload(name="prefill 64 rows, SmolLM2 layer", shape="smollm2-layer", prompt=64,
                 head=False, goal=0.92),
        Workload(name="GEMM 64 x 1024 x 1024", shape="gemm", prompt=64, only="down", goal=0.97),
    ),
    # With a row of the same name in a preset that differs by its tiles alone it is compared.
    "kv260": (
        Workload(name="decode, SmolLM2, context 512", shape="smollm2", start=512, tokens=2,
                 goal=0.95, speedup_goal=3.7),
        Workload(name="prefill 64 rows, SmolLM2 layer", shape="smollm2-layer", prompt=64,
                 head=False),
        Workload(name="decode, whole SmolLM2-135M, context 128", shape="smollm2-whole", start=128,
                 goal=0.95, rate_goal=100),
    ),
    "tiny": (
        Workload(name="decode, context 100", shape="little", start=100, tokens=2),
        Workload(name="prefill 8 rows", shape="little", start=24, prompt=8, head=False),
        Workload(name="prefill 5 rows, head norms, biases, no up", shape="little", start=61,
                 prompt=5, options=("head_norm", "biased", "ungated")),
        Workload(name="decode, context 200, window 40", shape="little", start=200, window=40,
                 tokens=2),
        Workload(name="prefill 8 rows, window 40", shape="little", start=120, prompt=8, window=40,
                 head=False),
    ),
}  # fmt: skip


@cache
def random_model(shape, options=(), window=0, seed=SEED):
    """Return a `QuantisedModel` of random weights. Its numbers mean nothing: they take time."""
    rng = np.random.default_rng(seed)
    half = shape.head_dim // 2

    def linear(outputs, inputs, width, biased=False):
        weight = rng.integers(-127, 128, (outputs, inputs), dtype=np.int8)
        multiplier = rng.integers(1 << 14, 1 << 15, outputs).astype(np.uint16)
        bias = rng.integers(-(1 << 12), 1 << 12, outputs, dtype=np.int32) if biased else None
        return Linear(weight, multiplier, 4, 24 if width == RESIDUAL_WIDTH else 20, width, bias)

    def norm(length=shape.dim):
        gain = rng.integers(-(1 << 12), 1 << 12, length).astype(np.int16)
        return Norm(gain, 14, 1 << 20)

    def layer():
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        biased, normed = "biased" in options, "head_norm" in options
        return Layer(
            attention_norm=norm(),
            q=linear(queries, shape.dim, HEAD_WIDTH, biased),
            k=linear(keys, shape.dim, HEAD_WIDTH, biased),
            v=linear(keys, shape.dim, HEAD_WIDTH, biased),
            q_norm=norm(shape.head_dim) if normed else None,
            k_norm=norm(shape.head_dim) if normed else None,
            score_shift=20,
            window=window,
            o=linear(shape.dim, queries, RESIDUAL_WIDTH),
            ffn_norm=norm(),
            gate=linear(shape.ffn, shape.dim, HEAD_WIDTH),
            up=None if "ungated" in options else linear(shape.ffn, shape.dim, HEAD_WIDTH),
            table_shift=4,
            glu_shift=2 * HEAD_WIDTH - FFN_WIDTH,
            down=linear(shape.dim, shape.ffn, RESIDUAL_WIDTH),
        )

    rope = rng.integers(-(1 << ROPE_FRACTION), 1 << ROPE_FRACTION, (shape.context, half, 2))
    return QuantisedModel(
        shape=shape,
        embedding=rng.integers(-127, 128, (shape.vocab, shape.dim), dtype=np.int8),
        embedding_multiplier=rng.integers(1 << 14, 1 << 15, shape.vocab).astype(np.uint16),
        embedding_shift=8,
        rope=rope.astype(np.int16),
        layers=tuple(layer() for _ in range(shape.layers)),
        final_norm=norm(),
        head=linear(shape.vocab, shape.dim, RESIDUAL_WIDTH),
    )


def build(workload, config):
    """Return the `CompiledModel` of a workload. Operators it leaves out keep their data."""
    shape = SHAPES[workload.shape]
    context = min(shape.context, config.max_context)
    compiled = compile_model(
        random_model(shape, workload.options, workload.window),
        config,
        context=context,
        page_count=workload.sequences * workload.pages(config),
    )

    def runs(step):
        if step.operator == "end":
            return True
        if not workload.head and step.fields.get("emit_only"):
            return False
        return step.name.endswith(workload.only)

    kept = [runs(step) for step in compiled.steps]
    program = [word for word, keep in zip(compiled.program, kept, strict=True) if keep]
    return dataclasses.replace(compiled, program=tuple(program))


def fill_cache(host, seed=SEED):
    """Write random keys and values into all pages of a `HostImage`."""
    rng = np.random.default_rng(seed)
    shape, page_len = host.compiled.shape, host.compiled.config.page_len
    blocks = shape.head_dim // BLOCK_LEN
    for page in range(host.compiled.memory_map.page_count):
        for layer in range(shape.layers):
            for head in range(shape.kv_heads):
                k, v = rng.integers(-127, 128, (2, page_len, shape.head_dim), dtype=np.int8)
                exponents = rng.integers(4, 9, (2, page_len, blocks), dtype=np.uint8)
                cache = HeadCache(k=k, k_exponents=exponents[0], v=v, v_exponents=exponents[1])
                host.write_head(page, layer, head, cache)
