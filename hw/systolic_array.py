"""Multiply-accumulate array with stationary weights."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .processing_element import ProcessingElement
from .spec.formats import ACT_WIDTH, BLOCK_LEN, PSUM_WIDTH

__all__ = ["SystolicArray"]


class SystolicArray(wiring.Component):
    """Multiply rows of activations with a tile of weights, a row every cycle.

    ``psum[j]`` is the sum over i of ``act[i] * weight[i][j]``. Activations move right a column a
    cycle, partial sums and weight words down a row a cycle; nothing ever waits. The next tile's
    weights load into shadow registers while the current tile is used.

    Parameters
    ----------
    rows : int
        Elements of the reduction in one tile: activations in a row. 2, 4, 8, 16 or 32.
    cols : int
        Output channels in one tile. Positive.

    Members
    -------
    weight_valid : In(1)
        Whether ``weight`` holds a word.
    weight_row : In(range(rows))
        Row of the tile that the word is.
    weight : In(ArrayLayout(signed(ACT_WIDTH), cols))
        One weight for each column, symmetric: never the most negative number.
    act_valid : In(1)
        Whether ``act`` holds a row.
    act_swap : In(1)
        Whether this row is the first for the tile whose weights were loaded last.
    act : In(ArrayLayout(signed(ACT_WIDTH), rows))
        One activation for each row of the array, symmetric.
    psum_valid : Out(1)
        Whether ``psum`` holds the sums of a row of activations.
    psum : Out(ArrayLayout(signed(PSUM_WIDTH), cols))
        Exact sums.

    Timing
    ------
    From ``act`` to ``psum``: :attr:`latency` cycles, rows + cols. A row and a weight word in every
    cycle. Inputs go into logic (``act``, ``weight`` of the first row and column) unregistered:
    drive them from registers.

    A tile's first row may enter from the cycle after its last weight word. The next tile's words
    may enter from the very cycle in which that first row does. So a tile may start every ``rows``
    cycles, even with one row of activations each.

    Raises
    ------
    ValueError
        ``rows`` or ``cols`` out of range.
    """

    def __init__(self, *, rows, cols):
        if rows not in (2, 4, 8, 16, BLOCK_LEN):
            raise ValueError(f"rows must be 2, 4, 8, 16 or {BLOCK_LEN}, not {rows!r}")
        if not isinstance(cols, int) or isinstance(cols, bool) or cols < 1:
            raise ValueError(f"cols must be a positive integer, not {cols!r}")
        self.rows = rows
        self.cols = cols
        super().__init__({
            "weight_valid": In(1),
            "weight_row": In(range(rows)),
            "weight": In(data.ArrayLayout(signed(ACT_WIDTH), cols)),
            "act_valid": In(1),
            "act_swap": In(1),
            "act": In(data.ArrayLayout(signed(ACT_WIDTH), rows)),
            "psum_valid": Out(1),
            "psum": Out(data.ArrayLayout(signed(PSUM_WIDTH), cols)),
        })

    @property
    def latency(self):
        """Cycles from a row of activations to its sums."""
        return self.rows + self.cols

    def elaborate(self, platform):
        m = Module()

        def delayed(value, cycles, name):
            """Return the value as it was so many cycles ago."""
            for cycle in range(cycles):
                register = Signal(value.shape(), name=f"{name}_{cycle}", reset_less=True)
                m.d.sync += register.eq(value)
                value = register
            return value

        # Control travels down the left edge, a bit for each row, then right along the row: bit j
        # of these registers is what column j + 1 sees.
        row_swap = self.act_valid & self.act_swap
        row_valid = self.weight_valid
        row_index = self.weight_row

        # What enters each column from above. The first sum comes a cycle behind the activations,
        # but it is 0.
        weights = [delayed(self.weight[j], j, f"weight_skew_{j}") for j in range(self.cols)]
        psums = [0] * self.cols

        for i in range(self.rows):
            capture = row_valid & (row_index == i)
            swaps = Signal(self.cols, name=f"swaps_{i}")
            captures = Signal(self.cols, name=f"captures_{i}")
            m.d.sync += swaps.eq(Cat(row_swap, swaps))
            m.d.sync += captures.eq(Cat(capture, captures))

            act = delayed(self.act[i], i, f"act_skew_{i}")
            for j in range(self.cols):
                m.submodules[f"element_{i}_{j}"] = element = ProcessingElement()
                m.d.comb += [
                    element.act.eq(act),
                    element.swap.eq(swaps[j - 1] if j else row_swap),
                    element.weight.eq(weights[j]),
                    element.capture.eq(captures[j - 1] if j else capture),
                    element.psum.eq(psums[j]),
                ]
                act = element.act_right
                weights[j] = element.weight_down
                psums[j] = element.psum_down

            if i + 1 < self.rows:
                row_swap = delayed(row_swap, 1, f"row_swap_{i + 1}")
                row_valid = delayed(row_valid, 1, f"row_valid_{i + 1}")
                row_index = delayed(row_index, 1, f"row_index_{i + 1}")

        for j in range(self.cols):
            m.d.comb += self.psum[j].eq(delayed(psums[j], self.cols - 1 - j, f"psum_skew_{j}"))

        valid = Signal(self.latency)
        m.d.sync += valid.eq(Cat(self.act_valid, valid))
        m.d.comb += self.psum_valid.eq(valid[-1])

        return m
