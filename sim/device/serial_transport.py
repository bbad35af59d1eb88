"""The way to a chip behind a debug bridge, over a channel of bytes."""

import asyncio
import random
import time
from collections import deque
from typing import Protocol

import numpy as np

from hw.spec.bridge import (
    BOARDS,
    FLAG,
    MAGIC,
    MAX_DATA,
    OPCODES,
    REGISTER_BYTES,
    REPLY_BIT,
    STATUSES,
    VERSION,
    WINDOW,
    decode_frame,
    decode_ping,
    encode_frame,
    encode_request,
)
from hw.spec.csr import IRQ, REGISTERS
from sim.device.error import (
    AccessRefused,
    DeviceError,
    NoAnswer,
    NoInterrupt,
    WrongBoard,
    WrongVersion,
)

__all__ = ["Channel", "SerialTransport"]

_STATUS_NAMES = {code: name for name, code in STATUSES.items()}
_BOARD_NAMES = {code: name for name, code in BOARDS.items()}
_EVERY_IRQ = sum(1 << bit for bit in IRQ.values())
_LONGEST = 4 * MAX_DATA  # bytes without a flag that may still be a frame
_TEXTS = {
    "bad_request": "the board does not know this request",
    "bad_address": "the board has nothing there",
    "bus_error": "answered with an error",
    "timeout": "did not answer in time",
    "conflict": "another program has used the board meanwhile",
}


class Channel(Protocol):
    """Bytes to and from a board.

    Attributes
    ----------
    name : str
        For messages.
    """

    name: str

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, timeout: float) -> bytes:
        """Return what has come, or comes first within so many seconds; nothing if nothing does."""

    def close(self) -> None:
        """Let others have it."""


class SerialTransport:
    """Registers and memory of a chip behind `hw.spec.bridge`.

    Up to `WINDOW` frames are under way at a time; frames or replies that are lost are sent again.
    After an error the next call begins a new session, so a board that is there again is used again.
    Calls block the event loop until they are answered.

    Parameters
    ----------
    channel : Channel
        The way to the board.
    memory_bytes : int
        Size of ``memory``; by default that of the board's.
    base : int
        Address of the first byte of ``memory`` on the board.
    board : str
        Board that is expected, of `BOARDS`; by default any.
    timeout : float
        Seconds without a reply after which frames are sent again.
    retries : int
        How often, before that is an error.
    patience : float
        Seconds that `interrupt` waits.
    progress : callable
        Called with (bytes done, bytes in all) while memory is copied.

    Attributes
    ----------
    memory : uint8 array
        The host's copy of the board's memory from ``base`` on.
    info : dict
        What the last ping returned: fields of `hw.spec.bridge.PING`.
    resent : int
        Frames that were sent again.

    Raises
    ------
    DeviceError
        Nothing answers, or something else than was expected, or ``memory`` does not fit.
    """

    def __init__(
        self,
        channel,
        *,
        memory_bytes=None,
        base=0,
        board=None,
        timeout=2.0,
        retries=5,
        patience=60.0,
        progress=None,
    ):
        if board is not None and board not in BOARDS:
            raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {board!r}")
        self._channel = channel
        self._base = base
        self._board = board
        self._timeout = timeout
        self._retries = retries
        self._patience = patience
        self._progress = progress
        self._line = bytearray()
        self._sequence = 0
        self._connected = False
        self._irq_enable = None  # as far as is known
        self.resent = 0
        self.info = self.ping()
        self.resize(memory_bytes)

    def resize(self, memory_bytes=None):
        """Begin a new ``memory`` of zeros, of so many bytes; by default as large as the board's.

        DeviceError if the board has less.
        """
        room = self.info["memory_bytes"] - self._base
        size = room if memory_bytes is None else memory_bytes
        if size > room:
            raise DeviceError(
                f"the image needs {size} bytes from {self._base:#x} on, and the board has "
                f"{max(0, room)}"
            )
        self.memory = np.zeros(size, dtype=np.uint8)

    def ping(self):
        """Begin a new session; return the fields of `hw.spec.bridge.PING`.

        Raises
        ------
        DeviceError
            Nothing answers, or not the bridge, version or board that was expected.
        """
        self._connected = False
        chance = random.SystemRandom()
        nonce, sequence = chance.getrandbits(32), chance.getrandbits(8)
        frame = encode_frame(encode_request("ping", sequence, addr=nonce))
        heard = 0
        for _ in range(self._retries + 1):
            # The same frame each time: of two pings that arrive the later would win.
            self._channel.write(frame)
            deadline = time.monotonic() + self._timeout
            while data := self._read(deadline):
                heard += len(data)
                for reply in self._replies(data):
                    fields = self._ping_fields(reply, sequence, nonce)
                    if fields:
                        self._check(fields)
                        self._sequence = (sequence + 1) % 256
                        self._connected = True
                        self.info = fields
                        return fields
        if heard:
            raise NoAnswer(
                f"{heard} bytes came from {self._channel.name}, but no answer: wrong baud rate, or "
                "another device"
            )
        raise NoAnswer(
            f"no answer on {self._channel.name}: is the board on and programmed, and the baud rate "
            "right?"
        )

    @staticmethod
    def _ping_fields(reply, sequence, nonce):
        """Return the fields of a reply if it is the one to this ping."""
        if reply[:2] != bytes([OPCODES["ping"].code | REPLY_BIT, sequence]):
            return None
        try:
            fields = decode_ping(reply[2:-1])
        except ValueError:
            return None
        return fields if (fields["magic"], fields["nonce"]) == (MAGIC, nonce) else None

    def _check(self, fields):
        if fields["version"] != VERSION:
            raise WrongVersion(
                f"the board's bridge has version {fields['version']}, and this driver knows "
                f"{VERSION}: program the board with a matching bitstream"
            )
        found = _BOARD_NAMES.get(fields["board"], f"number {fields['board']}")
        if self._board not in (None, found):
            raise WrongBoard(f"the bitstream is for board {found}, not {self._board}")

    async def read(self, offset):
        """Return a register."""
        (data,) = self.exchange([("read_register", offset, REGISTER_BYTES, b"")])
        return int.from_bytes(data, "little")

    async def write(self, offset, value):
        """Write a register."""
        data = value.to_bytes(REGISTER_BYTES, "little")
        if offset == REGISTERS["irq_enable"].offset:
            self._irq_enable = value
        self.exchange([("write_register", offset, REGISTER_BYTES, data)])

    async def push(self, start, stop):
        """Copy bytes ``start`` to ``stop`` of ``memory`` to the board."""
        pieces = self._pieces(start, stop)
        requests = [
            ("write_memory", self._base + at, end - at, self.memory[at:end].tobytes())
            for at, end in pieces
        ]
        self.exchange(requests, lambda index, _: self._report(pieces, index))

    async def pull(self, start, stop):
        """Copy bytes ``start`` to ``stop`` of ``memory`` from the board."""
        pieces = self._pieces(start, stop)
        requests = [("read_memory", self._base + at, end - at, b"") for at, end in pieces]

        def take(index, data):
            self.memory[slice(*pieces[index])] = np.frombuffer(data, np.uint8)
            self._report(pieces, index)

        self.exchange(requests, take)

    async def interrupt(self):
        """Return when the interrupt line is high, by asking again and again.

        Raises
        ------
        NoInterrupt
            It stays low.
        """
        deadline = time.monotonic() + self._patience
        if self._irq_enable is None:
            self._irq_enable = await self.read(REGISTERS["irq_enable"].offset)
        while not await self.read(REGISTERS["irq_status"].offset) & self._irq_enable & _EVERY_IRQ:
            if time.monotonic() > deadline:
                raise NoInterrupt(f"no interrupt came for {self._patience:g} s")
            await asyncio.sleep(0)

    async def reset(self):
        """Reset the chip and its memory controller; what memory holds may be lost."""
        self._irq_enable = 0
        self.exchange([("reset", 0, 0, b"")])

    def close(self):
        """Let others have the channel."""
        self._channel.close()

    def _pieces(self, start, stop):
        """Cut a range of ``memory`` into frames, at multiples of their length on the board."""
        if not 0 <= start <= stop <= len(self.memory):
            raise DeviceError(
                f"bytes {start} to {stop} are outside the memory of {len(self.memory)} bytes"
            )
        pieces = []
        while start < stop:
            end = min(stop, start + MAX_DATA - (self._base + start) % MAX_DATA)
            pieces.append((start, end))
            start = end
        return pieces

    def _report(self, pieces, index):
        if self._progress:
            start = pieces[0][0]
            self._progress(pieces[index][1] - start, pieces[-1][1] - start)

    def exchange(self, requests, take=None):
        """Have requests carried out in order; return the data of each reply.

        Parameters
        ----------
        requests : list of (str, int, int, bytes)
            Opcode, address, count and data.
        take : callable
            Called with the index of a request and the data of its reply, in order, as they come.
        """
        if not self._connected:
            self.ping()
        # Until all has gone well, nobody knows what the board expects next.
        self._connected = False
        flight = deque()  # [sequence, frame, data or None] of those sent, the oldest first
        answers, sent, tries, rewound = [], 0, 0, False
        deadline = time.monotonic() + self._timeout
        while len(answers) < len(requests):
            line = bytearray()
            while sent < len(requests) and len(flight) < WINDOW:
                name, addr, count, data = requests[sent]
                body = encode_request(name, self._sequence, count=count, addr=addr, data=data)
                flight.append([self._sequence, encode_frame(body), None])
                line += flight[-1][1]
                self._sequence = (self._sequence + 1) % 256
                sent += 1
            if line:
                self._channel.write(bytes(line))
            data = self._read(deadline)
            if not data:
                tries += 1
                if tries > self._retries:
                    raise NoAnswer(
                        f"the board on {self._channel.name} does not answer any more: is the "
                        "cable loose, or the board switched off?"
                    )
                self._send_again(flight)
                rewound = False
                deadline = time.monotonic() + self._timeout
            for reply in self._replies(data):
                found = self._match(flight, reply, requests, len(answers))
                if found == "gap" and not rewound:
                    self._send_again(flight)
                    rewound = True  # more gaps of the same flight are on their way
            while flight and flight[0][2] is not None:
                answers.append(flight.popleft()[2])
                if take:
                    take(len(answers) - 1, answers[-1])
                tries, rewound = 0, False
                deadline = time.monotonic() + self._timeout
        self._connected = True
        return answers

    def _match(self, flight, reply, requests, first):
        """Put the data of a reply to its frame; return the reply's status, None if it is stray."""
        if len(reply) < 3:
            return None
        sequences = [sequence for sequence, _, _ in flight]
        if reply[1] not in sequences:
            return None
        index = sequences.index(reply[1])
        waiting = flight[index]
        name, addr, count, _ = requests[first + index]
        if reply[0] != OPCODES[name].code | REPLY_BIT:
            return None
        status = _STATUS_NAMES.get(reply[-1], f"status {reply[-1]}")
        if status == "ok":
            data = reply[2:-1]
            if len(data) != (count if name.startswith("read") else 0):
                raise DeviceError(f"{name} at {addr:#x}: {len(data)} bytes came, not {count}")
            waiting[2] = data
        elif status != "gap":
            text = _TEXTS.get(status, "an answer that this driver does not know")
            text = f"{name} of {count} bytes at {addr:#x}: {status}: {text}"
            raise AccessRefused(text, status)
        return status

    def _send_again(self, flight):
        missing = [frame for _, frame, data in flight if data is None]
        self.resent += len(missing)
        self._channel.write(b"".join(missing))

    def _read(self, deadline):
        """Return what has come, or comes before the deadline; nothing if nothing does."""
        left = deadline - time.monotonic()
        return self._channel.read(left) if left > 0 else b""

    def _replies(self, data):
        """Yield the bodies of the frames that end in these bytes."""
        for byte in data:
            if byte != FLAG:
                self._line.append(byte)
                continue
            body = decode_frame(bytes(self._line))
            self._line.clear()
            if body:
                yield body
        if len(self._line) > _LONGEST:
            self._line.clear()
