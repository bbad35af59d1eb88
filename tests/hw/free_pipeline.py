"""A pipeline that never stalls, for the bench of what makes it."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.lib.credit_queue import free_running

__all__ = ["FreePipeline"]


class FreePipeline(wiring.Component):
    """Pass payloads on through so many registers and the queue behind them."""

    def __init__(self, width, stages):
        self.stages = stages
        super().__init__({
            "i": In(stream.Signature(width)),
            "o": Out(stream.Signature(width)),
        })

    def elaborate(self, platform):
        m = Module()
        pipe, result = free_running(m, self.i, self.o, stages=self.stages)
        m.d.comb += result.eq(pipe.hold(self.i.payload, "payload", stages=self.stages))
        return m
