"""The driver: everything a host does with a chip, whatever is in between."""

from dataclasses import dataclass

from hw.spec.csr import CONTROL, IRQ, STATUS
from hw.spec.requests import CANDIDATE_BYTES, REQUEST_BYTES
from sim.compiler.host_image import HostImage
from sim.compiler.memory_map import REQUESTS, TOKEN_BYTES
from sim.device.error import DeviceError, RequestFailed
from sim.device.event_ring import EventRing
from sim.device.pages import PageAllocator
from sim.device.registers import Registers
from sim.device.request import DEFAULTS, NO_EOS, Prefix, place_request, sampling_fields

__all__ = ["WATCHDOG_CYCLES", "Device"]

WATCHDOG_CYCLES = 100_000  #: by default


@dataclass(frozen=True)
class _Outstanding:
    """A request without its last event.

    Members
    -------
    place : int
        Where its prompt and page table lie.
    pages, owned : tuple
        Its page table; pages to be freed after it.
    fields : dict
        Of `hw.spec.requests.REQUEST`.
    """

    place: int
    pages: tuple
    owned: tuple
    fields: dict


class Device(Registers):
    """A chip with a compiled model. One task at a time may use it.

    Parameters
    ----------
    transport : Transport
        The way to the chip.
    compiled : CompiledModel
        What its memory holds, or will hold after `load`.
    one_memory : bool
        There is one memory behind all of the chip's memory channels, not one behind each.

    Attributes
    ----------
    pages : PageAllocator
        Of the KV region.
    """

    def __init__(self, transport, compiled, *, one_memory=False):
        super().__init__(transport, compiled)
        self.one_memory = one_memory
        self.host = HostImage(compiled, transport.memory)
        self._ring = EventRing(self, self.host)
        self.pages = PageAllocator(compiled.memory_map.page_count)
        self._next_id = 0
        self._outstanding = {}  # by request id
        self._places = list(range(REQUESTS))  # that are free
        self._queue = []  # requests in the ring since the last start, or for the next
        self._candidates = {}  # by place: id of the last request that reported, and what
        self._withdrawn = []  # requests to cancel; the chip knows of the first
        self._running = False
        self._max_prefill = 0

    async def load(self):
        """Write program, weights and tables into the chip's memory, then `attach`."""
        self.compiled.fill(self.transport.memory)
        for channel in range(self.host.map.channels):
            await self._push(self.host.map.image_base, self.host.map.image_bytes, channel)
        await self.attach()

    async def attach(self):
        """Tell the chip where everything lies in a memory that holds the image already."""
        for name, value in self.host.map.registers(one_memory=self.one_memory).items():
            await self.set_register(name, value)
        await self.set_register("watchdog", WATCHDOG_CYCLES)

    async def submit(
        self,
        prompt,
        max_tokens,
        *,
        eos_token=None,
        pages=None,
        start_pos=0,
        shared_pages=0,
        prefix=None,
        **sampling,
    ):
        """Hand a request to the chip, or to the next `start`; return its id.

        A chip that runs takes it between two passes.

        Parameters
        ----------
        prompt : sequence of int
            Tokens.
        max_tokens : int
            Tokens to write at most.
        eos_token : int
            Token that ends the sequence.
        pages : sequence of int
            Pages of the KV region, if the caller looks after them; by default as many as the
            request needs are taken from ``pages`` of the device, until its last event.
        start_pos, shared_pages : int
            Only with ``pages``: position of the first token, as the pages hold what is before it,
            and how many of the first pages are only read.
        prefix : Prefix
            What the prompt begins with: only what follows its pages is computed.
        temperature, top_k, seed, report
            How tokens are drawn, see `sampling_of` (by default always the likeliest), and how many
            `candidates` the chip reports with each.

        Raises
        ------
        ValueError
            See `place_request` and `sampling_of`.
        DeviceError
            Too many requests are outstanding, or too few pages free.
        """
        self._check_place()
        fields = sampling_fields(self.compiled.config, **sampling)
        placed = place_request(
            self.compiled,
            prompt,
            max_tokens,
            pages=pages,
            start_pos=start_pos,
            shared_pages=shared_pages,
            prefix=prefix,
        )
        owned = ()
        if pages is None:
            owned = pages = (*placed.shared, *self.pages.allocate(placed.own_count))
            self.pages.share(placed.shared)
        return await self._submit(
            placed.prompt,
            pages,
            owned,
            max_tokens=max_tokens,
            eos_token=NO_EOS if eos_token is None else eos_token,
            start_pos=placed.start_pos,
            shared_pages=placed.shared_pages,
            **fields,
        )

    async def submit_unchecked(self, prompt, pages, **fields):
        """Hand over a request whose ``fields`` of `hw.spec.requests.REQUEST` are as given.

        What is not given follows from ``prompt`` and ``pages``, and is one token to write.
        """
        self._check_place()
        return await self._submit(prompt, pages, (), **fields)

    @property
    def outstanding(self):
        """Ids of the requests whose last event has not come."""
        return list(self._outstanding)

    def candidates(self, request_id):
        """Return the largest logits of a request's last token, as a list of (token, logit).

        They were read with its last event: if it goes on, the next token's may have been half
        there. They are kept until another needs their place. ValueError if there are none.
        """
        for reporter, found in self._candidates.values():
            if reporter == request_id:
                return found
        raise ValueError(f"request {request_id} has reported no candidates")

    def pages_of(self, request_id):
        """Return the page table of a request that is outstanding: numbers of pages."""
        return self._outstanding[request_id].pages

    def fields_of(self, request_id):
        """Return the fields of a request that is outstanding, as `hw.spec.requests.REQUEST`."""
        return self._outstanding[request_id].fields

    async def start(self, *, max_prefill=0):
        """Start the chip on what was submitted; what becomes of it comes from `events`.

        Parameters
        ----------
        max_prefill : int
            Rows of a pass over prompts at most; 0 for what the chip has.

        Raises
        ------
        DeviceError
            A run is still on.
        """
        if await self.register("status") & 1 << STATUS["busy"]:
            raise DeviceError("the chip is busy: wait for the end of the run, or stop it")
        self._max_prefill = max_prefill
        await self._begin()

    async def stop(self):
        """Ask the chip to stop; `events` ends when it has, and all requests are forgotten."""
        await self.set_register("control", 1 << CONTROL["stop"])

    async def cancel(self, request_id):
        """Withdraw a request: it ends before the next pass, or when the chip takes it.

        If it ended before that, nothing happens.
        """
        if request_id in self._outstanding and request_id not in self._withdrawn:
            self._withdrawn.append(request_id)
            if len(self._withdrawn) == 1:
                await self._withdraw()

    async def events(self):
        """Yield each `hw.spec.requests.Event` as it is written, until the run is over.

        Requests may be submitted and cancelled meanwhile.

        Raises
        ------
        ChipError
            The run ended by an error, after the events that were written before it; all requests
            are forgotten.
        BadAnswer
            The chip writes what is no event.
        """
        while self._running:
            await self.transport.interrupt()
            causes = await self.register("irq_status")
            await self.set_register("irq_status", causes)
            for event in await self._ring.new():
                await self._note(event)
                yield event
            if causes & 1 << IRQ["done"]:
                await self._rest()
        await self.raise_error()

    async def generate(self, prompt, max_tokens, *, max_prefill=0, **options):
        """Run one request, and nothing else; return its tokens.

        Parameters and errors as for `submit`, `start` and `events`.

        Raises
        ------
        RequestFailed
            The request ended by an error.
        DeviceError
            Other requests are outstanding.
        """
        self._check_alone()
        await self.submit(prompt, max_tokens, **options)
        return await self._finish(max_prefill)

    async def keep(self, prompt):
        """Compute the whole pages that a prompt fills, and keep them; return a `Prefix`.

        Raises what `generate` does, and ValueError for a prompt that fills no page.
        """
        self._check_alone()
        page_len = self.compiled.config.page_len
        count = len(prompt) // page_len
        if not count:
            raise ValueError(
                f"a prefix must fill a page ({page_len} tokens) at least, not {len(prompt)} tokens"
            )
        tokens = tuple(prompt[: count * page_len])
        pages = self.pages.allocate(count)
        try:
            request_id = await self.submit(tokens, 1, pages=pages)
            await self._finish()
        except (ValueError, DeviceError):
            self.pages.free(pages)
            raise
        return Prefix(tokens, tuple(pages), request_id)

    def drop(self, prefix):
        """Free the pages of a `Prefix`, but for requests that share them until they end."""
        self.pages.free(prefix.pages)

    def _check_alone(self):
        if self._outstanding:
            raise DeviceError("other requests are outstanding: take their events first")

    async def _finish(self, max_prefill=0):
        """Run the only request; return its tokens."""
        await self.start(max_prefill=max_prefill)
        tokens, failed = [], None
        async for event in self.events():
            if event.kind == "failed":
                failed = event
            elif event.kind != "cancelled":
                tokens.append(event.token)
        if failed:
            raise RequestFailed(failed)
        return tokens

    def _check_place(self):
        if not self._places:
            raise DeviceError(
                f"{REQUESTS} requests are outstanding: wait for the end of one of them"
            )

    async def _submit(self, prompt, pages, owned, **fields):
        place, request_id = self._places[0], self._next_id
        values = DEFAULTS | {
            "request_id": request_id,
            "prompt_addr": self.host.write_prompt(place, prompt),
            "prompt_len": len(prompt),
            "page_table_addr": self.host.write_page_table(place, pages),
            "page_count": len(pages),
            "candidates_addr": self.compiled.memory_map.candidates_addr(place),
        }
        await self._push(values["prompt_addr"], len(prompt) * TOKEN_BYTES)
        await self._push(values["page_table_addr"], len(pages) * TOKEN_BYTES)
        values |= fields
        del self._places[0]
        self._next_id += 1
        self._outstanding[request_id] = _Outstanding(place, tuple(pages), tuple(owned), values)
        self._queue.append(request_id)
        if self._running:
            await self._write_request(len(self._queue) - 1)
            await self.set_register("requests_written", len(self._queue))
        return request_id

    async def _write_request(self, number):
        fields = self._outstanding[self._queue[number]].fields
        await self._push(self.host.write_request(number, **fields), REQUEST_BYTES)

    async def _begin(self):
        every = sum(1 << bit for bit in IRQ.values())
        for number in range(len(self._queue)):
            await self._write_request(number)
        values = {
            "irq_status": every,
            "irq_enable": every,
            "max_prefill": self._max_prefill,
            "requests_written": len(self._queue),
            "events_read": 0,
            "control": 1 << CONTROL["start"],
        }
        for name, value in values.items():
            await self.set_register(name, value)
        self._ring.restart()
        self._running = True
        await self._withdraw()

    async def _rest(self):
        """Note that the chip is at rest; start it again if it has left requests in the ring."""
        self._running = False
        del self._queue[: await self.register("requests_taken")]
        if not await self.register("status") & 1 << STATUS["done"]:
            for request_id in [*self._outstanding]:
                self._forget(request_id)
            self._queue, self._withdrawn = [], []
        elif self._queue:
            await self._begin()

    async def _note(self, event):
        request = self._outstanding.get(event.request_id)
        count = request.fields["report_count"] if request else 0
        if count and event.kind in ("token", "end"):
            await self._pull(request.fields["candidates_addr"], count * CANDIDATE_BYTES)
            found = self.host.read_candidates(request.place, count)
            self._candidates[request.place] = event.request_id, found
        if event.kind == "token" or not request:
            return
        self._forget(event.request_id)
        if event.request_id in self._withdrawn:
            self._withdrawn.remove(event.request_id)
            await self._withdraw()

    def _forget(self, request_id):
        request = self._outstanding.pop(request_id)
        self._places.append(request.place)
        self.pages.free(request.owned)

    async def _withdraw(self):
        # The chip remembers one request: the next is its turn once that has ended.
        if self._running and self._withdrawn:
            await self.set_register("cancel_id", self._withdrawn[0])
            await self.set_register("control", 1 << CONTROL["cancel"])

    async def _push(self, addr, size, channel=0):
        start = self.compiled.memory_map.offset(addr, channel)
        await self.transport.push(start, start + size)

    async def _pull(self, addr, size):
        start = self.compiled.memory_map.offset(addr)
        await self.transport.pull(start, start + size)
