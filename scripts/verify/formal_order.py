"""Whether what goes in comes out, in order, nothing lost and nothing made up."""

from amaranth.hdl import Mux, Signal, Value

__all__ = ["Order"]


class Order:
    """Follow one item, any one, from where it goes in to where it comes out.

    Parameters
    ----------
    bench : scripts.verify.formal_bench.Bench
    taken, item : Value
        An item goes in, and which.
    given, result : Value
        An item comes out, and which.
    most : int
        Items that are inside at most.
    name : str
        Of the assertions.

    Members
    -------
    inside : Signal
        Items inside.
    marked, ahead, mark : Signal
        The followed item is inside; how many will leave before it; the item.
    """

    def __init__(self, bench, *, taken, item, given, result, most, name):
        m = bench.m
        item, result = Value.cast(item), Value.cast(result)
        self.inside = inside = bench.register(range(2 * most + 2), f"{name}_inside")
        self.ahead = ahead = bench.register(range(2 * most + 2), f"{name}_ahead")
        self.marked = marked = bench.register(1, f"{name}_marked")
        self.mark = mark = bench.register(len(item), f"{name}_mark")
        waited = bench.register(1, f"{name}_waited")
        chosen = bench.free(1, f"{name}_chosen")
        begins = Signal(name=f"{name}_begins")
        self.leaves = leaves = Signal(name=f"{name}_leaves")
        m.d.comb += [
            begins.eq(taken & chosen & ~marked),
            leaves.eq(given & marked & (ahead == 0)),
        ]
        m.d.sync += inside.eq(inside + taken - given)
        with m.If(begins):
            m.d.sync += [marked.eq(1), mark.eq(item), ahead.eq(inside - given), waited.eq(0)]
        with m.Elif(given & marked):
            m.d.sync += [ahead.eq(Mux(ahead == 0, 0, ahead - 1)), marked.eq(ahead != 0)]
            m.d.sync += waited.eq(waited | (ahead >= most - 1))
        bench.always(inside <= most, f"{name}_has_room")
        bench.always(~given | (inside != 0), f"{name}_makes_nothing_up")
        bench.always(~leaves | (result == mark), f"{name}_holds")
        bench.always(~marked | (ahead < inside), f"{name}_loses_nothing")
        bench.cover(leaves & (mark != 0) & (mark != bench.past(result, f"{name}_result")),
                    f"{name}_passes_on")  # fmt: skip
        bench.cover(leaves & (waited if most > 2 else bench.started), f"{name}_passes_when_full")
