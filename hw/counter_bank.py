"""Many wide counters in one memory."""

from amaranth.hdl import Array, Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from .lib.collision import UNDEFINED

__all__ = ["CounterBank"]

_PART = 8  #: counters that one of them is chosen of in the first cycle


class CounterBank(wiring.Component):
    """Count by a different step for each counter in every cycle, with one wide adder.

    A short counter for each gathers what happens while the one adder goes round: each in turn is
    added to its sum in the memory, and begins again. Nothing is lost, whatever the steps are.

    Parameters
    ----------
    steps : dict of str to int
        Name and largest step of each counter. At least two counters, steps positive.
    width : int
        Width of the sums, in bits. They wrap.
    cleared : int
        What ``clear`` sets the sums to.

    Members
    -------
    clear : In(1)
        Begin anew; steps of this cycle are not counted, those of the next are.
    enable : In(1)
        Count.
    step_<name> : In(range(steps[name] + 1))
        What to add in this cycle.
    read : In(1)
        Ask for the sum of ``read_index``, which must hold until ``read_valid``.
    read_index : In(range(count))
        Place in ``steps``.
    read_valid : Out(1)
        High for one cycle.
    read_data : Out(width)
        The sum, while ``read_valid``.

    Timing
    ------
    ``read_valid`` comes at most ``max(count, 4) + 7`` cycles after ``read``. The sum is that of one
    moment between the two: steps of the cycles before ``read`` are in it. Everything that comes in
    goes into a register first.

    Raises
    ------
    ValueError
        ``steps`` or ``width`` out of range.
    """

    def __init__(self, steps, *, width=64, cleared=0):
        if len(steps) < 2 or any(step < 1 for step in steps.values()):
            raise ValueError(f"steps must be two positive numbers or more, not {steps!r}")
        if width < 1:
            raise ValueError(f"width must be positive, not {width!r}")
        self.steps = steps
        self.width = width
        self.cleared = cleared
        super().__init__({
            "clear": In(1),
            "enable": In(1),
            **{f"step_{name}": In(range(step + 1)) for name, step in steps.items()},
            "read": In(1),
            "read_index": In(range(len(steps))),
            "read_valid": Out(1),
            "read_data": Out(width),
        })

    def elaborate(self, platform):
        m = Module()
        # A sum is stored three cycles after it was fetched: its next turn must not come before.
        count = max(len(self.steps), 4)
        m.submodules.sums = sums = memory.Memory(
            shape=unsigned(self.width), depth=1 << ceil_log2(count), init=[], attrs=UNDEFINED
        )
        fetch, store = sums.read_port(), sums.write_port()

        # Turn 0: the counter's gathered steps leave, to be chosen in two cycles among all.
        turn = Signal(range(count))
        stale = Signal(count, init=-1)  # sums of a time before `clear`
        m.d.sync += turn.eq(Mux(turn == count - 1, 0, turn + 1))
        # Events come from all over the chip, a cycle late, and so do the strobes beside them.
        clear, enable, asks, read = (
            Signal(name=f"{name}_seen") for name in ("clear", "enable", "asks", "read")
        )
        m.d.sync += [clear.eq(self.clear), enable.eq(self.enable)]
        m.d.sync += [asks.eq(self.read), read.eq(asks)]  # what came before is gathered by then
        gathered = []
        for index, (name, step) in enumerate(self.steps.items()):
            value = Signal(range(step * count + 1), name=f"gathered_{name}")
            now = Signal(range(step + 1), name=f"now_{name}")
            m.d.sync += [
                now.eq(getattr(self, f"step_{name}")),
                value.eq(Mux(turn == index, 0, value) + Mux(enable, now, 0)),
            ]
            gathered.append(value)
        with m.If(clear):
            m.d.sync += [value.eq(0) for value in gathered]

        # Turn 1: the sum is fetched.
        width = max(len(value) for value in gathered)
        parts = []
        for first in range(0, len(gathered), _PART):
            part = Signal(width, name=f"part_{first}", reset_less=True)
            m.d.sync += part.eq(Array(gathered[first : first + _PART])[turn[: exact_log2(_PART)]])
            parts.append(part)
        fetched = Signal.like(turn)
        m.d.sync += fetched.eq(turn)
        m.d.comb += fetch.addr.eq(fetched)

        # Turns 2 and 3: the memory's answer, in a register. Turn 4: the sum is stored.
        steps = [Signal(width, name=f"step_{n}", reset_less=True) for n in range(2)]
        places = [Signal(range(count), name=f"place_{n}", reset_less=True) for n in range(3)]
        fresh = [Signal(name=f"fresh_{n}") for n in range(2)]
        asked = [Signal(name=f"asked_{n}") for n in range(3)]
        valid = [Signal(name=f"valid_{n}") for n in range(4)]
        old = Signal(self.width, reset_less=True)
        total = Signal(self.width, reset_less=True)
        m.d.sync += [
            steps[0].eq(Array(parts)[fetched[exact_log2(_PART) :]]),
            steps[1].eq(steps[0]),
            places[0].eq(fetched),
            places[1].eq(places[0]),
            places[2].eq(places[1]),
            fresh[0].eq(stale.bit_select(fetched, 1)),
            fresh[1].eq(fresh[0]),
            valid[0].eq(1),
            valid[1].eq(valid[0]),
            valid[2].eq(valid[1]),
            valid[3].eq(valid[2]),
            old.eq(fetch.data),
            total.eq(Mux(fresh[1], self.cleared, old) + steps[1]),
        ]
        with m.If(valid[0]):
            m.d.sync += stale.bit_select(fetched, 1).eq(0)
        with m.If(clear):
            # What is on its way belongs to the time before.
            m.d.sync += [stale.eq(-1), *(stage.eq(0) for stage in valid)]
        m.d.comb += [
            store.addr.eq(places[2]),
            store.data.eq(total),
            store.en.eq(valid[3]),
        ]

        # A read waits for the counter's turn.
        waiting = Signal()
        hit = Signal()
        m.d.comb += hit.eq((waiting | read) & (fetched == self.read_index))
        m.d.sync += [
            waiting.eq((waiting | read) & ~hit),
            asked[0].eq(hit),
            asked[1].eq(asked[0]),
            asked[2].eq(asked[1]),
        ]
        m.d.comb += [self.read_valid.eq(asked[2]), self.read_data.eq(total)]
        return m
