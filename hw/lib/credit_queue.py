"""A queue behind a pipeline that never stalls."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from .parameter import check_positive
from .pipeline import Pipeline
from .queue import Queue
from .slice import Slice

__all__ = ["CreditQueue", "free_running"]

#: Payloads that the smallest LUT memory holds.
_LUT_DEPTH = 16


class CreditQueue(wiring.Component):
    """Catch all that a pipeline puts out, and let in only what will find room.

    The registers of such a pipeline move in every cycle, without an enable: a stall would have to
    reach all of them at once, and a multiplier's own have none to spare.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a payload.
    latency : int
        Cycles from where a payload enters the pipeline to where it comes here. Positive.

    Members
    -------
    ready : Out(1)
        There is room for one payload more.
    empty : Out(1)
        Nothing is in the pipeline or here.
    enters : In(1)
        One enters the pipeline in this cycle. Only while ``ready``.
    i_valid, i : In(1), In(shape)
        One comes out of it.
    o : Out(stream.Signature(shape))
        The payloads, in order.

    Timing
    ------
    A transfer on ``o`` is possible in every cycle, the first ``latency + LATENCY`` cycles after its
    payload entered. ``ready`` and ``empty`` come from
    registers.

    Raises
    ------
    TypeError, ValueError
        ``latency`` is not a positive integer.
    """

    #: Cycles from where a payload comes here to its offer on ``o``.
    LATENCY = 1 + Slice.LATENCY

    def __init__(self, shape, *, latency):
        check_positive("latency", latency)
        self.latency = latency
        # Credit comes back a cycle after a payload leaves.
        self.depth = max(_LUT_DEPTH, 1 << ceil_log2(latency + self.LATENCY + 1))
        self.shape = shape
        super().__init__({
            "ready": Out(1),
            "empty": Out(1),
            "enters": In(1),
            "i_valid": In(1),
            "i": In(shape),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        # Reading LUT memory takes long when it is wide: its output goes into registers.
        m.submodules.queue = queue = Queue(self.shape, self.depth)
        m.submodules.leaving = leaving = Slice(self.shape)
        connect(m, queue.o, leaving.i)
        connect(m, leaving.o, flipped(self.o))
        free = Signal(range(self.depth + 1), init=self.depth)
        some = Signal(init=1)  # free != 0
        leaves = Signal()
        m.d.comb += [
            queue.i.valid.eq(self.i_valid),
            queue.i.payload.eq(self.i),
            leaves.eq(self.o.valid & self.o.ready),
            self.ready.eq(some),
            self.empty.eq(free == self.depth),
        ]
        m.d.sync += [
            free.eq(free + leaves - self.enters),
            some.eq(leaves | (free > 1) | (some & ~self.enters)),
        ]
        return m


def free_running(m, i, o, *, stages):
    """Join two streams of a component by a pipeline that never stalls.

    Returns its `Pipeline`, and what is to be assigned to: the payload that belongs to the transfer
    on ``i`` of ``stages`` cycles ago. ``i.ready`` comes from registers; ``o`` offers a payload
    ``stages + CreditQueue.LATENCY`` cycles after its transfer on ``i``.
    """
    pipe = Pipeline(m)
    m.submodules.results = results = CreditQueue(o.payload.shape(), latency=stages)
    connect(m, results.o, flipped(o))
    valid = i.valid & results.ready
    m.d.comb += [i.ready.eq(results.ready), results.enters.eq(valid)]
    for stage in range(1, stages + 1):
        valid = pipe.valid(valid, f"valid_{stage}")
    m.d.comb += results.i_valid.eq(valid)
    return pipe, results.i
