"""The driver: everything a host does with a chip, whatever is in between."""

from hw.spec.csr import (
    CONTROL,
    COUNTERS,
    ID_VALUE,
    IRQ,
    REGISTERS,
    RING_ENTRY_BYTES,
    STATUS,
    VERSION_VALUE,
    counter_offset,
)
from sim.compiler.host_image import HostImage
from sim.compiler.memory_map import TOKEN_BYTES
from sim.device.error import ChipError, DeviceError

__all__ = ["NO_EOS", "WATCHDOG_CYCLES", "Device", "check_request", "config_words"]

NO_EOS = 0xFFFFFFFF  #: ``eos_token`` that no token equals
WATCHDOG_CYCLES = 100_000  #: by default
_COMPATIBLE = 0xFFFF_0000  # major and minor version


def config_words(config):
    """Return the configuration registers of a chip built for ``config``, by name."""
    return {
        "config0": (config.rows | config.cols << 8 | config.lanes << 16 | config.port_bytes << 24),
        "config1": config.max_rows | config.max_dim << 16,
        "config2": config.max_context | config.page_len << 16,
        "config3": config.act_blocks | config.max_head_dim << 16,
    }


def check_request(prompt, max_tokens, *, vocab, context):
    """Refuse a request that a chip could not run to its end.

    Raises
    ------
    ValueError
        An empty prompt, a token outside the vocabulary, no tokens to write, or more positions than
        the context has. It says what is allowed.
    """
    if not len(prompt):
        raise ValueError("the prompt must have at least one token")
    for index, token in enumerate(prompt):
        if not 0 <= token < vocab:
            raise ValueError(
                f"token {index} of the prompt must be 0 to {vocab - 1} (the vocabulary), "
                f"not {token}"
            )
    if max_tokens < 1:
        raise ValueError(f"the number of tokens to write must be at least 1, not {max_tokens}")
    if len(prompt) > context:
        raise ValueError(
            f"the prompt has {len(prompt)} tokens, and the context has room for {context}"
        )
    # The last token written is never fed back.
    most = context - len(prompt) + 1
    if max_tokens > most:
        raise ValueError(
            f"the number of tokens to write must be at most {most} after a prompt of "
            f"{len(prompt)} tokens (the context has {context} positions), not {max_tokens}"
        )


class Device:
    """A chip with a compiled model.

    Parameters
    ----------
    transport : Transport
        The way to the chip.
    compiled : CompiledModel
        What its memory holds, or will hold after `load`.
    """

    def __init__(self, transport, compiled):
        self.transport = transport
        self.compiled = compiled
        self.host = HostImage(compiled, transport.memory)
        self._read_until = 0

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

    async def load(self):
        """Write program, weights and tables into the chip's memory, then `attach`."""
        self.compiled.fill(self.transport.memory)
        memory_map = self.compiled.memory_map
        await self.transport.push(0, memory_map.offset(memory_map.image_limit))
        await self.attach()

    async def attach(self):
        """Tell the chip where everything lies in a memory that holds the image already."""
        for name, value in self.compiled.memory_map.registers().items():
            await self.set_register(name, value)
        await self.set_register("watchdog", WATCHDOG_CYCLES)

    async def start(self, prompt, max_tokens, **options):
        """Start a request; its tokens come from `tokens`. Parameters and errors as for `prepare`.

        Raises
        ------
        DeviceError
            A run is still on.
        """
        if await self.register("status") & 1 << STATUS["busy"]:
            raise DeviceError("the chip is busy: wait for the end of the run, or stop it")
        await self.prepare(prompt, max_tokens, **options)
        await self.start_as_set()

    async def prepare(self, prompt, max_tokens, *, eos_token=None, max_prefill=0, pages=None):
        """Write a request into memory and registers.

        Parameters
        ----------
        prompt : sequence of int
            Tokens.
        max_tokens : int
            Tokens to write at most.
        eos_token : int
            Token that ends the sequence.
        max_prefill : int
            Rows of a pass over the prompt at most; 0 for what the chip has.
        pages : sequence of int
            Pages of the KV region for this sequence; by default all.

        Raises
        ------
        ValueError
            See `check_request`; also too few pages.
        """
        memory_map, config = self.compiled.memory_map, self.compiled.config
        vocab = self.compiled.shape.vocab
        check_request(prompt, max_tokens, vocab=vocab, context=memory_map.context)
        pages = range(memory_map.page_count) if pages is None else pages
        needed = len(prompt) + max_tokens - 1
        if needed > len(pages) * config.page_len:
            raise ValueError(
                f"the request needs {-(-needed // config.page_len)} pages of {config.page_len} "
                f"positions, and {len(pages)} were given"
            )
        self.host.write_prompt(prompt)
        page_count = self.host.write_page_table(pages)
        await self._push(memory_map.prompt_addr, len(prompt) * TOKEN_BYTES)
        await self._push(memory_map.page_table_addr, page_count * TOKEN_BYTES)
        values = {
            "prompt_len": len(prompt),
            "max_tokens": max_tokens,
            "eos_token": NO_EOS if eos_token is None else eos_token,
            "start_pos": 0,
            "page_count": page_count,
            "max_prefill": max_prefill,
        }
        for name, value in values.items():
            await self.set_register(name, value)

    async def start_as_set(self):
        """Start what the registers say, unchecked."""
        every = sum(1 << bit for bit in IRQ.values())
        await self.set_register("irq_status", every)
        await self.set_register("irq_enable", every)
        self._read_until = 0
        await self.set_register("control", 1 << CONTROL["start"])

    async def stop(self):
        """Ask the chip to stop; `tokens` ends when it has."""
        await self.set_register("control", 1 << CONTROL["stop"])

    async def tokens(self):
        """Yield each `RingEntry` as it is written, until the run is over.

        Raises
        ------
        ChipError
            The run ended by an error, after the tokens that were written before it.
        """
        over = False
        while not over:
            await self.transport.interrupt()
            events = await self.register("irq_status")
            await self.set_register("irq_status", events)
            over = bool(events & 1 << IRQ["done"])
            for entry in await self._new_entries():
                yield entry
        await self.raise_error()

    async def generate(self, prompt, max_tokens, **options):
        """Run a request as `start` does; return its tokens. Raises what `tokens` does."""
        await self.start(prompt, max_tokens, **options)
        return [entry.token async for entry in self.tokens()]

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

    async def _new_entries(self):
        head = await self.register("ring_head")
        memory_map = self.compiled.memory_map
        await self._pull(memory_map.ring_addr, memory_map.ring_len * RING_ENTRY_BYTES)
        entries = self.host.read_ring(self._read_until, head)
        self._read_until = head
        return entries

    async def _push(self, addr, size):
        start = self.compiled.memory_map.offset(addr)
        await self.transport.push(start, start + size)

    async def _pull(self, addr, size):
        start = self.compiled.memory_map.offset(addr)
        await self.transport.pull(start, start + size)
