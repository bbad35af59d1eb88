"""Tests of `hw.weight_streamer` on `hw.memory_controller`: from descriptors to words."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.memory_controller import REGIONS, MemoryController
from hw.weight_streamer import WeightStreamer
from tests.support.runner import run_bench


class WeightPath(wiring.Component):
    """Both, connected."""

    def __init__(self, *, port_bytes, word_bytes, stream_depth):
        self.streamer = WeightStreamer(port_bytes=port_bytes, word_bytes=word_bytes)
        self.memory = MemoryController(port_bytes=port_bytes, stream_depth=stream_depth)
        ports = self.memory.signature.members
        inner = self.streamer.signature.members
        super().__init__({
            "axi": Out(ports["axi"].signature),
            "i_descriptor": In(inner["i_descriptor"].signature.flip()),
            "o_words": Out(inner["o_words"].signature),
            "regions": In(REGIONS),
            "halt": In(1),
            "idle": Out(1),
            "error_valid": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.streamer = streamer = self.streamer
        m.submodules.memory = memory = self.memory
        connect(m, memory.axi, flipped(self.axi))
        connect(m, streamer.o_command, memory.i_stream)
        connect(m, memory.o_stream, streamer.i_beats)
        connect(m, flipped(self.i_descriptor), streamer.i_descriptor)
        connect(m, streamer.o_words, flipped(self.o_words))
        m.d.comb += [
            memory.regions.eq(self.regions),
            memory.halt.eq(self.halt),
            streamer.halt.eq(self.halt),
            self.idle.eq(streamer.idle & memory.idle),
            self.error_valid.eq(memory.error_valid),
        ]
        return m


@pytest.mark.parametrize(
    ("port_bytes", "word_bytes", "stream_depth"), [(4, 4, 64), (16, 16, 512), (16, 4, 64)]
)
def test_weight_path(port_bytes, word_bytes, stream_depth):
    params = {"port_bytes": port_bytes, "word_bytes": word_bytes, "stream_depth": stream_depth}
    run_bench(WeightPath(**params), "tests.hw.bench_weight_path", params=params)
