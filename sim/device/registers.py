"""The registers of a chip, by name."""

from hw.spec.csr import COUNTERS, ID_VALUE, REGISTERS, STATUS, VERSION_VALUE, counter_offset
from sim.device.error import ChipError, DeviceError

__all__ = ["Registers", "config_words"]

_COMPATIBLE = 0xFFFF_0000  # major and minor version


def config_words(config):
    """Return the configuration registers of a chip built for ``config``, by name."""
    return {
        "config0": (config.rows | config.cols << 8 | config.lanes << 16 | config.port_bytes << 24),
        "config1": config.max_rows | config.max_dim << 16,
        "config2": config.max_context | config.page_len << 16,
        "config3": config.act_blocks | config.max_head_dim << 16,
        "config4": config.max_seqs | config.kv_pages << 16,
        "config5": config.list_len | config.tiles << 16 | config.parity << 24,
    }


class Registers:
    """What a host does with registers alone.

    Parameters
    ----------
    transport : Transport
        The way to the chip.
    compiled : CompiledModel
        What it is to run.
    """

    def __init__(self, transport, compiled):
        self.transport = transport
        self.compiled = compiled

    async def register(self, name):
        """Return a register."""
        return await self.transport.read(REGISTERS[name].offset)

    async def set_register(self, name, value):
        """Write a register."""
        await self.transport.write(REGISTERS[name].offset, value)

    async def check(self):
        """Check that a chip is there, and that the model was compiled for its configuration.

        Raises
        ------
        DeviceError
            Naming the register, what it reads, and what was expected.
        """
        found = await self.register("id")
        if found != ID_VALUE:
            raise DeviceError(f"no Serrano chip: id reads {found:#010x}, not {ID_VALUE:#010x}")
        found = await self.register("version")
        if found & _COMPATIBLE != VERSION_VALUE & _COMPATIBLE:
            raise DeviceError(
                f"the chip's version reads {found:#010x}, "
                f"and this driver knows {VERSION_VALUE:#010x}"
            )
        for name, expected in config_words(self.compiled.config).items():
            found = await self.register(name)
            if found != expected:
                raise DeviceError(
                    f"the model was compiled for another configuration: {name} reads "
                    f"{found:#010x}, not {expected:#010x} ({REGISTERS[name].doc})"
                )

    async def raise_error(self):
        """Raise `ChipError` if the last run ended by an error."""
        if await self.register("status") & 1 << STATUS["error"]:
            op_id = await self.register("error_op")
            names = self.compiled.names
            raise ChipError(
                await self.register("error_cause"),
                await self.register("error_addr"),
                op_id,
                names[op_id] if op_id < len(names) else f"operator {op_id}",
            )

    async def counters(self):
        """Return all counters by name."""
        values = {}
        for name in COUNTERS:
            low = await self.transport.read(counter_offset(name))
            high = await self.transport.read(counter_offset(name) + 4)
            values[name] = high << 32 | low
        return values
