"""What is true of every queue inside a unit, without which an induction would not go through."""

import importlib
from contextlib import contextmanager

from amaranth.hdl import Assert, Mux

__all__ = ["queues_are_consistent"]


def _assert(m, queue):
    """Assert that level and pointers of a queue belong together."""
    store = m.submodules.memory
    write, read = store.write_ports[0].addr, store.read_ports[0].addr
    stored = queue.level
    if queue.depth > queue.MAX_LUT_DEPTH:
        # One payload is in the read port's register already.
        stored = (queue.level - queue.o.valid)[: len(queue.level)]
        m.d.comb += Assert(~queue.o.valid | (queue.level != 0), "offered_counts")
    end = read + stored
    wrapped = Mux(end >= queue.depth, end - queue.depth, end)
    m.d.comb += [
        Assert(queue.level <= queue.depth, "level_fits"),
        Assert((read < queue.depth) & (write < queue.depth), "pointers_fit"),
        Assert(wrapped[: len(write)] == write, "pointers_match_level"),
    ]


@contextmanager
def queues_are_consistent():
    """Have every `Queue` that is elaborated meanwhile assert that it is consistent.

    They are asserted, not assumed: what is proved with them is proved without them.
    """
    kind = importlib.import_module("hw.lib.queue").Queue
    original = kind.elaborate

    def elaborate(self, platform):
        m = original(self, platform)
        _assert(m, self)
        return m

    kind.elaborate = elaborate
    try:
        yield
    finally:
        kind.elaborate = original
