"""What every operator of a pass wrote, in the form in which the hardware shows it."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Output", "Recorder"]


@dataclass(frozen=True)
class Output:
    """What one operator of one pass wrote.

    ``name`` is that of the operator in the compiler's program: ``embed``, ``layer <n> attention
    norm``, ``layer <n> qkv``, ``... attention``, ``... o``, ``... ffn norm``, ``... glu``, ``...
    down``, then ``final norm`` and ``logits``.

    ``kind`` tells what the arrays are, rows first:

    ========  ======================================================================
    residual  int32 (rows, dim): the residual after the operator
    blocks    int8 (rows, length), uint8 (rows, length // 32)
    q, k, v   int8 (rows, heads, head_dim), uint8 (rows, heads, head_dim // 32)
    logits    int32 (rows, vocab)
    ========  ======================================================================
    """

    name: str
    kind: str
    start: int  # position of the pass's first row
    values: np.ndarray
    exponents: np.ndarray | None = None


class Recorder:
    """Collects outputs in program order: give it to `Transformer.step` as ``recorder``."""

    def __init__(self):
        self.outputs = []

    def __call__(self, name, kind, start, values, exponents=None):
        self.outputs.append(Output(name, kind, start, values, exponents))

    def find(self, name, kind=None):
        """Return the first output of an operator (and of a kind, where it has several)."""
        for output in self.outputs:
            if output.name == name and kind in (None, output.kind):
                return output
        raise ValueError(
            f"name must be one of {sorted({o.name for o in self.outputs})}, not {name!r}"
        )
