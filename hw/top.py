"""The whole chip: what becomes Verilog."""

from amaranth.hdl import Cat, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect

from .core import Core
from .csr import Csr
from .ecp5.global_buffer import GlobalBuffer
from .lib.axi import Axi4, Axi4Lite
from .lib.parity_inserter import insert_parity
from .lib.reset_domain import add_reset_domain
from .memory_controller import MemoryController
from .parity_guard import ParityGuard
from .probe import PROBES, TILE_UNITS, probe_signature, units_layout
from .run_control import RunControl
from .spec.csr import ERRORS
from .spec.memories import memory_code

__all__ = ["Top"]

_CSR_ADDR_WIDTH = 12
_SWEEP_ROW_WIDTH = 24  # more than any memory has


def _flat(prefix, signature):
    """Return a signature's members with their names behind ``prefix``: AXI's usual names."""
    return {f"{prefix}_{name}": member for name, member in signature.members.items()}


class Top(wiring.Component):
    """The chip, with flat port names that AXI tools recognise.

    Parameters
    ----------
    config : ArchConfig
    trace : bool
        Bring the core's probes out as ``trace_<name>_<field>``, and what its units do as
        ``trace_units`` (`hw.probe.units_layout`), for simulation.

    Members
    -------
    s_axil_* : AXI4-Lite subordinate
        Registers, `hw.spec.csr`.
    m0_axi_*, m1_axi_*, ... : AXI4 manager
        Memory channel of each tile.
    irq : Out(1)
        Interrupt, level.
    busy, error : Out(1)
        As in the register ``status``.

    Timing
    ------
    ``rst`` must be high for two cycles at least: it reaches the core by a register, a cycle after
    the rest, and a core that still runs beside a fresh memory controller could ask it for words
    that nobody takes.
    """

    def __init__(self, config, *, trace=False):
        self.config = config
        self.trace = trace
        self._axil = Axi4Lite(addr_width=_CSR_ADDR_WIDTH).flip()
        self._axi = Axi4(data_bytes=config.port_bytes)
        members = {
            **_flat("s_axil", self._axil),
            "irq": Out(1),
            "busy": Out(1),
            "error": Out(1),
        }
        for tile in range(config.tiles):
            members |= _flat(f"m{tile}_axi", self._axi)
        if trace:
            for name, member in probe_signature(config).members.items():
                members |= _flat(f"trace_{name}", member.signature)
            members["trace_units"] = Out(units_layout(config.tiles))
        super().__init__(members)

    def _join(self, m, prefix, signature, inner):
        """Connect flat ports with the members of an interface inside."""
        for name, member in signature.members.items():
            port, other = getattr(self, f"{prefix}_{name}"), getattr(inner, name)
            m.d.comb += port.eq(other) if member.flow is Out else other.eq(port)

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.csr = csr = Csr(cfg)
        m.submodules.control = control = RunControl()
        memories = [
            MemoryController(port_bytes=cfg.port_bytes, stream_depth=cfg.stream_depth)
            for _ in range(cfg.tiles)
        ]
        core = Core(cfg)
        inside = {"core": core} | {f"memory_{n}": memory for n, memory in enumerate(memories)}
        guard = None
        if cfg.parity:
            inside, guard = self._protect(m, inside, platform)
        m.submodules.core = DomainRenamer("core")(inside["core"])
        m.submodules.core_reset = core_reset = GlobalBuffer()
        m.d.comb += core_reset.i.eq(control.core_reset)
        add_reset_domain(m, "core", core_reset.o)

        self._join(m, "s_axil", self._axil, csr.bus)
        m.d.comb += [
            self.irq.eq(csr.irq),
            self.busy.eq(csr.busy),
            self.error.eq(csr.error),
        ]
        if self.trace:
            for name in PROBES:
                member = probe_signature(cfg).members[name]
                self._join(m, f"trace_{name}", member.signature, getattr(core.trace, name))
            self._trace_units(m, memories, core)

        connect(m, core.o_fetch, memories[0].i_fetch)
        connect(m, memories[0].o_fetch, core.i_fetched)
        for tile, memory in enumerate(memories):
            m.submodules[f"memory_{tile}"] = inside[f"memory_{tile}"]
            self._join(m, f"m{tile}_axi", self._axi, memory.axi)
            connect(m, core.o_stream[tile], memory.i_stream)
            connect(m, memory.o_stream, core.i_beat[tile])
            connect(m, core.o_write[tile], memory.i_write)
            connect(m, core.o_wdata[tile], memory.i_wdata)
            m.d.comb += memory.halt.eq(control.halt)
            for name in ("image", "kv", "host"):
                m.d.comb += [
                    memory.regions[name].base.eq(getattr(csr, f"{name}_base")),
                    memory.regions[name].limit.eq(getattr(csr, f"{name}_limit")),
                ]
            if tile:
                m.d.sync += memory.bus_offset.eq(csr.channel_stride * tile)
        self._bus_errors(m, control, memories)
        for name in Core.REGISTERS:
            m.d.comb += getattr(core, name).eq(getattr(csr, name))

        # A start while busy goes nowhere: the registers say so.
        failed = Signal()
        op_id = Signal(16)
        # What goes between core, registers and controllers is a cycle on its way.
        m.d.sync += [
            core.start.eq(control.core_start),
            core.cancel.eq(csr.cancel),
            control.finished.eq(core.finished),
            control.core_error.eq(core.error),
            control.core_cause.eq(core.error_cause),
            control.core_addr.eq(core.error_addr),
            control.progress.eq(
                Cat((memory.read_beat, memory.write_beat) for memory in memories).any()
                | core.counts.array_rows.any()
                | core.event_event
                | core.stalled  # the host's turn
            ),
            csr.stalled.eq(core.stalled),
            # What was idle while it was told to halt stays so.
            control.idle.eq(Cat(memory.idle for memory in memories).all()),
        ]
        m.d.comb += [
            core.writes_pending.eq(Cat(memory.writes_pending for memory in memories).any()),
            control.start.eq(csr.start if guard is None else guard.o_start),
            control.stop.eq(csr.stop),
            control.watchdog.eq(csr.watchdog),
            csr.busy.eq(control.busy if guard is None else control.busy | guard.waiting),
            csr.done.eq(control.done & ~control.busy),
            csr.error.eq(failed),
            csr.error_valid.eq(control.error_event),
            csr.error_cause.eq(control.error_cause),
            csr.error_addr.eq(control.error_addr),
            csr.error_op.eq(op_id),
            csr.event_event.eq(core.event_event),
            csr.done_event.eq(control.done_event),
            csr.error_event.eq(control.error_event),
        ]
        # The core forgets what it had done when it comes to rest; the registers do not.
        taken, written = Signal(32), Signal(32)
        m.d.comb += [csr.requests_taken.eq(taken), csr.events_written.eq(written)]
        with m.If(control.busy & ~control.core_reset):
            m.d.sync += [
                taken.eq(core.requests_taken),
                written.eq(core.events_written),
                op_id.eq(core.op_id),
            ]
        with m.If(control.error_event):
            m.d.sync += failed.eq(1)
        with m.If(control.core_start):
            m.d.sync += [failed.eq(0), taken.eq(0), written.eq(0)]

        if cfg.parity:
            self._guard(m, guard, csr, control)
        self._count(m, csr, memories, core)
        return m

    def _protect(self, m, inside, platform):
        """Give all memories parity; return the units with it, and what looks after them.

        What stays without: the counters of the registers, which no result depends on.
        """
        sweep, sweep_bus = Signal(), Signal()
        row = Signal(_SWEEP_ROW_WIDTH)
        units, found = {}, []
        for name, unit in inside.items():
            ours = sweep if name == "core" else sweep_bus
            units[name], of_unit = insert_parity(unit, platform, sweep=ours, sweep_row=row)
            found += [(f"{name}.{one.path}", one.memory) for one in of_unit]
        m.submodules.guard = guard = ParityGuard(
            [memory_code(path) for path, _ in found],
            rows=max(memory.depth for _, memory in found if memory.swept),
        )
        m.d.comb += [
            guard.errors.eq(Cat(memory.error for _, memory in found)),
            sweep.eq(guard.sweep),
            sweep_bus.eq(guard.sweep_bus),
            row.eq(guard.sweep_row),
        ]
        return units, guard

    def _guard(self, m, guard, csr, control):
        """Stop a run that has met an error, and let a start wait while memories are swept."""
        m.d.comb += [
            guard.start.eq(csr.start),
            guard.busy.eq(control.busy),
            guard.quiet.eq(control.idle),
            csr.parity_errors.eq(guard.count),
        ]
        with m.If(guard.failed):
            m.d.sync += [
                control.core_error.eq(1),
                control.core_cause.eq(ERRORS["memory_parity"]),
                control.core_addr.eq(guard.code),
            ]

    def _bus_errors(self, m, control, memories):
        """Report the error of a channel: of several in one cycle, that of the first."""
        for memory in reversed(memories):
            with m.If(memory.error_valid):
                m.d.comb += [
                    control.bus_error.eq(1),
                    control.bus_cause.eq(memory.error_cause),
                    control.bus_addr.eq(memory.error_addr),
                ]

    def _count(self, m, csr, memories, core):
        counts = core.counts
        inner = {name: getattr(counts, name) for name in counts.signature.members}
        outer = {
            "tokens": core.event_event,
            "read_beats": sum(memory.read_beat for memory in memories),
            "write_beats": sum(memory.write_beat for memory in memories),
            "prefetch_full": sum(memory.stream_full for memory in memories),
        }
        for name, value in (inner | outer).items():
            m.d.comb += getattr(csr, f"count_{name}").eq(value)

    def _trace_units(self, m, memories, core):
        units = {
            "norm": core.counts.norm_busy,
            "tables": core.counts.tables_busy,
            "kv_writer": core.kv_writing,
            "running": core.running,
            "op": core.op_id,
        }
        for tile, memory in enumerate(memories):
            counts = core.tile_counts[tile]
            of_tile = {
                "feeding": counts.array_rows,
                "starved": counts.array_starved,
                "loading": counts.weight_words,
                "matmul": counts.array_busy,
                "drain": counts.post_busy,
                "softmax": counts.softmax_busy,
                "attention": counts.attention_busy,
                "read": memory.read_beat,
                "write": memory.write_beat,
                "stalled": memory.stream_full,
            }
            units |= {f"{name}_{tile}" if tile else name: of_tile[name] for name in TILE_UNITS}
        for name, value in units.items():
            m.d.comb += self.trace_units[name].eq(value)
