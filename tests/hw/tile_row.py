"""All tiles of a chip with what joins them: what `bench_tile` drives."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.activation_memory import ActivationMemory, Block
from hw.jobs import matmul_job
from hw.lib.fork import Fork
from hw.result_merge import ResultMerge
from hw.tile import Tile
from hw.weight_streamer import descriptor_layout

__all__ = ["TileRow"]


class TileRow(wiring.Component):
    """Tiles that run linear operators, their merge, and an activation memory to fill."""

    def __init__(self, config):
        self.config = config
        self.tiles = [Tile(config, number=number) for number in range(config.tiles)]
        first = self.tiles[0]
        super().__init__({
            "i_job": In(stream.Signature(matmul_job(config))),
            "i_descriptor": In(stream.Signature(descriptor_layout())).array(config.tiles),
            "o_stream": Out(first.o_stream.signature).array(config.tiles),
            "i_beat": In(first.i_beat.signature.flip()).array(config.tiles),
            "o_act": Out(first.o_act.signature),
            "write_en": In(1),
            "write_block": In(10),
            "write_row": In(range(config.max_rows)),
            "write": In(Block),
            "busy": Out(data.ArrayLayout(1, config.tiles)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.jobs = jobs = Fork(matmul_job(cfg), cfg.tiles)
        m.submodules.merge = merge = ResultMerge(cfg, self.o_act.payload.shape())
        m.submodules.acts = acts = ActivationMemory(
            blocks=cfg.act_blocks, max_rows=cfg.max_rows, readers=cfg.tiles
        )
        connect(m, flipped(self.i_job), jobs.i)
        connect(m, merge.o, flipped(self.o_act))
        m.d.comb += [
            merge.restart.eq(jobs.i.valid & jobs.i.ready),
            acts.write_en.eq(self.write_en),
            acts.write_block.eq(self.write_block),
            acts.write_row.eq(self.write_row),
            acts.write.eq(self.write),
        ]
        for number, tile in enumerate(self.tiles):
            m.submodules[f"tile_{number}"] = tile
            connect(m, flipped(self.i_descriptor[number]), tile.i_descriptor)
            connect(m, tile.o_stream, flipped(self.o_stream[number]))
            connect(m, flipped(self.i_beat[number]), tile.i_beat)
            connect(m, jobs.o[number], tile.i_job)
            connect(m, tile.o_act, merge.i[number])
            m.d.comb += [
                tile.is_linear.eq(1),
                acts.read_block[number].eq(tile.act_block),
                acts.read_row[number].eq(tile.act_row),
                tile.act.eq(acts.read[number]),
                self.busy[number].eq(tile.busy),
            ]
        return m
