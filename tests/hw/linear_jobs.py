"""Linear operators for benches: weights, activations, and the results in order."""

import numpy as np
from cocotb.triggers import RisingEdge

from hw.activation_memory import Block
from hw.jobs import Dest
from hw.spec.formats import BLOCK_LEN, FFN_WIDTH, HEAD_WIDTH, RESIDUAL_WIDTH
from sim.golden.block_quantise import block_quantise
from sim.golden.matmul import dot
from sim.golden.model import Linear
from sim.golden.requantise import requantise
from tests.support.bench import pack

__all__ = ["WIDTHS", "expected_lanes", "fill", "job_of", "random_linear", "random_rows"]

#: Bits of the results, by what a job is for.
WIDTHS = {
    Dest.RESIDUAL: RESIDUAL_WIDTH,
    Dest.QKV: HEAD_WIDTH,
    Dest.GLU: HEAD_WIDTH,
    Dest.LOGITS: RESIDUAL_WIDTH,
    Dest.SCORES: FFN_WIDTH,
    Dest.VALUES: HEAD_WIDTH,
}


def random_linear(rng, outputs, inputs, bias):
    """Return a linear operator whose results neither all saturate nor all vanish."""
    return Linear(
        weight=rng.integers(-127, 128, (outputs, inputs), dtype=np.int8),
        multiplier=rng.integers(1, 1 << 16, outputs).astype(np.uint16),
        shift1=2,
        shift2=29,
        out_width=32,
        bias=rng.integers(-(1 << 20), 1 << 20, outputs).astype(np.int32) if bias else None,
    )


def random_rows(rng, rows, inputs):
    """Return block-quantised rows: values and exponents."""
    wide = rng.integers(-(1 << 17), 1 << 17, (rows, inputs)) >> rng.integers(0, 12, (rows, 1))
    return block_quantise(wide)


def job_of(linear, rows):
    """Return the job of an operator whose results are added to the residual."""
    outputs, inputs = linear.weight.shape
    return {
        "dest": Dest.RESIDUAL,
        "bias": int(linear.bias is not None),
        "strips": outputs // BLOCK_LEN,
        "blocks": inputs // BLOCK_LEN,
        "heads": 1,
        "head_rows": rows,
        "strips0": outputs // BLOCK_LEN,
        "shift1_0": linear.shift1,
        "shift2_0": linear.shift2,
    }


async def fill(dut, values, exponents, *, first=0):
    """Write rows of blocks into the activation memory, from a block on."""
    for row in range(len(values)):
        for block in range(exponents.shape[1]):
            q = values[row, block * BLOCK_LEN : (block + 1) * BLOCK_LEN].tolist()
            dut.write_en.value = 1
            dut.write_row.value = row
            dut.write_block.value = first + block
            dut.write.value = pack(Block, {"q": q, "exp": int(exponents[row, block])})
            await RisingEdge(dut.clk)
    dut.write_en.value = 0


def expected_lanes(config, linear, values, exponents):
    """Return results as a tile alone offers them: strip, row, beat."""
    sums = dot(values, exponents, linear.weight)
    y = requantise(
        sums, linear.multiplier, linear.shift1, linear.shift2, linear.out_width, linear.bias
    )
    strips = y.reshape(len(values), -1, config.beats, config.lanes).transpose(1, 0, 2, 3)
    return strips.reshape(-1, config.lanes).tolist()
