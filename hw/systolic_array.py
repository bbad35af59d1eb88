"""Multiply-accumulate array with stationary weights."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .processing_element import ProcessingElement
from .spec.formats import ACT_WIDTH, BLOCK_LEN, PSUM_WIDTH

__all__ = ["SystolicArray"]


def _psum_width(count):
    """Width of a sum of so many products of symmetric elements, in bits."""
    largest = (1 << (ACT_WIDTH - 1)) - 1
    return (count * largest * largest).bit_length() + 1


def _row_cycles(registers):
    """Cycles from one row to the next for sums, weight words and the start of activations."""
    return 2 if registers else 1


class SystolicArray(wiring.Component):
    """Multiply rows of activations with a tile of weights, a row every cycle.

    ``psum[j]`` is the sum over i of ``act[i] * weight[i][j]``. Activations move right a column a
    cycle, partial sums and weight words down a row a cycle (with ``registers``, in two); nothing
    ever waits. The next tile's weights load into shadow registers while the current tile is used.

    Parameters
    ----------
    rows : int
        Elements of the reduction in one tile: activations in a row. 2, 4, 8, 16 or 32.
    cols : int
        Output channels in one tile. Positive.
    registers : bool
        Whether there are more registers, for a high clock: in each multiplier and between rows.
        They only add to the latency.

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
    From ``act`` to ``psum``: :attr:`latency` cycles. A row and a weight word in every cycle. Inputs
    go into logic (``act``, ``weight`` of the first row and column) unregistered: drive them from
    registers.

    A tile's first row may enter from the cycle after its last weight word. The next tile's words
    may enter from the very cycle in which that first row does. So a tile may start every ``rows``
    cycles, even with one row of activations each.

    Raises
    ------
    ValueError
        ``rows`` or ``cols`` out of range, ``registers`` not a bool.
    """

    def __init__(self, *, rows, cols, registers=False):
        if rows not in (2, 4, 8, 16, BLOCK_LEN):
            raise ValueError(f"rows must be 2, 4, 8, 16 or {BLOCK_LEN}, not {rows!r}")
        if not isinstance(cols, int) or isinstance(cols, bool) or cols < 1:
            raise ValueError(f"cols must be a positive integer, not {cols!r}")
        if not isinstance(registers, bool):
            raise ValueError(f"registers must be True or False, not {registers!r}")
        self.rows = rows
        self.cols = cols
        self.registers = registers
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
        return self.latency_of(self.rows, self.cols, self.registers)

    @staticmethod
    def latency_of(rows, cols, registers):
        """Cycles from a row of activations to its sums, in an array of these parameters."""
        product = ProcessingElement.product_latency(registers)
        return (rows - 1) * _row_cycles(registers) + product + 1 + cols - 1

    def elaborate(self, platform):
        m = Module()
        row_cycles = _row_cycles(self.registers)
        site = getattr(platform, "multiplier_site", lambda row, column: None)

        def delayed(value, cycles, name):
            """Return the value as it was so many cycles ago."""
            for cycle in range(cycles):
                register = Signal(value.shape(), name=f"{name}_{cycle}", reset_less=True)
                m.d.sync += register.eq(value)
                value = register
            return value

        # Control travels down the left edge, a bit for each row, then right along the row: bit j
        # of these registers is what column j + 1 sees. No reset: what was on its way before it is
        # ahead of all that comes after, and does no harm to weights that are yet to be loaded.
        row_swap = self.act_valid & self.act_swap
        row_valid = self.weight_valid
        row_index = self.weight_row

        # What enters each column from above. The first sum comes behind the activations, but it is
        # 0.
        weights = [delayed(self.weight[j], j, f"weight_skew_{j}") for j in range(self.cols)]
        psums = [0] * self.cols

        for i in range(self.rows):
            capture = row_valid & (row_index == i)
            swaps = Signal(self.cols, name=f"swaps_{i}", reset_less=True)
            captures = Signal(self.cols, name=f"captures_{i}", reset_less=True)
            m.d.sync += swaps.eq(Cat(row_swap, swaps))
            m.d.sync += captures.eq(Cat(capture, captures))

            act = delayed(self.act[i], i * row_cycles, f"act_skew_{i}")
            for j in range(self.cols):
                m.submodules[f"element_{i}_{j}"] = element = ProcessingElement(
                    psum_width=_psum_width(i + 1), registers=self.registers, site=site(i, j)
                )
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
                row_swap = delayed(row_swap, row_cycles, f"row_swap_{i + 1}")
                row_valid = delayed(row_valid, row_cycles, f"row_valid_{i + 1}")
                row_index = delayed(row_index, row_cycles, f"row_index_{i + 1}")
                for j in range(self.cols):
                    hop = f"{i}_{j}"
                    weights[j] = delayed(weights[j], row_cycles - 1, f"weight_hop_{hop}")
                    psums[j] = delayed(psums[j], row_cycles - 1, f"psum_hop_{hop}")

        for j in range(self.cols):
            m.d.comb += self.psum[j].eq(delayed(psums[j], self.cols - 1 - j, f"psum_skew_{j}"))

        valid = Signal(self.latency)
        m.d.sync += valid.eq(Cat(self.act_valid, valid))
        m.d.comb += self.psum_valid.eq(valid[-1])

        return m
