"""Who uses each page of the KV cache: no sequence reaches another's."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .lib.collision import UNDEFINED

__all__ = ["PageOwners"]


class PageOwners(wiring.Component):
    """Count the users of each page: one that writes it, or any number that only read it.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    clear : In(1)
        Forget all users.
    claim, release : In(1)
        Add, or take away, a user of ``page``; ``shared``: one that only reads. Only while not
        ``busy``, and released only what was claimed; each slot claims `max_pages` times at most.
        The two fields must hold while ``busy``.
    page, shared : In
    refused : Out(1)
        With the last cycle of a claim's ``busy``: the page has users that do not allow one more,
        and the claim changed nothing.
    busy : Out(1)
        From the cycle after a strobe.

    Timing
    ------
    :attr:`CYCLES` for a claim or a release, ``config.kv_pages`` + 1 for ``clear``.
    """

    #: Cycles that a claim or a release takes.
    CYCLES = 3

    def __init__(self, config):
        self.config = config
        super().__init__({
            "clear": In(1),
            "claim": In(1),
            "release": In(1),
            "page": In(range(config.kv_pages)),
            "shared": In(1),
            "refused": Out(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # A request may name a page more than once.
        most = self.config.max_seqs * self.config.max_pages
        users = data.StructLayout({"writer": 1, "readers": range(most + 1)})
        m.submodules.pages = pages = memory.Memory(
            shape=users, depth=self.config.kv_pages, init=[], attrs=UNDEFINED
        )
        write, read = pages.write_port(), pages.read_port()
        index = Signal(range(self.config.kv_pages))
        releasing = Signal()
        old, new = Signal(users), write.data
        taken = old.writer | (~self.shared & (old.readers != 0))
        m.d.comb += [read.addr.eq(self.page), write.addr.eq(self.page), self.busy.eq(1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(0)
                m.d.sync += [index.eq(0), releasing.eq(self.release)]
                with m.If(self.clear):
                    m.next = "CLEAR"
                with m.Elif(self.claim | self.release):
                    m.next = "FETCH"
            with m.State("CLEAR"):
                m.d.comb += [write.addr.eq(index), write.en.eq(1)]
                m.d.sync += index.eq(index + 1)
                with m.If(index == self.config.kv_pages - 1):
                    m.next = "IDLE"
            with m.State("FETCH"):
                m.d.sync += old.eq(read.data)
                m.next = "UPDATE"
            with m.State("UPDATE"):
                m.d.comb += [
                    self.refused.eq(~releasing & taken),
                    write.en.eq(~self.refused),
                    new.writer.eq(~releasing & ~self.shared),
                    new.readers.eq(
                        Mux(
                            releasing,
                            old.readers - self.shared,
                            old.readers + self.shared,
                        )
                    ),
                ]
                m.next = "IDLE"
        return m
