"""The debug bridge in slow, plain Python, from the words of `hw.spec.bridge`."""

from hw.spec.bridge import (
    BOARDS,
    FLAG,
    MAGIC,
    MAX_DATA,
    OPCODES,
    PING,
    REGISTER_BYTES,
    REPLY_BIT,
    REQUEST,
    REQUEST_BYTES,
    STATUSES,
    VERSION,
    WINDOW,
    decode_frame,
    encode_frame,
)

__all__ = ["BridgeModel"]

_NAMES = {opcode.code: name for name, opcode in OPCODES.items()}


class BridgeModel:
    """Take bytes of the line, and return those of the answers.

    Parameters
    ----------
    memory : bytearray
        From address 0.
    registers : dict
        Values by offset; all others answer ``bus_error``.
    digest, clock_hz, version, board
        What a ping returns.
    """

    def __init__(self, memory, registers, *, digest=0, clock_hz=0, version=VERSION, board="ulx3s"):
        self.memory = memory
        self.registers = registers
        self.ping = {
            "magic": MAGIC,
            "version": version,
            "board": BOARDS[board],
            "config_digest": digest,
            "clock_hz": clock_hz,
            "memory_bytes": len(memory),
        }
        self.carried_out = []  # (name, address) of each frame that did something
        self.resets = 0
        self._line = bytearray()
        self._expected = 0
        self._outcomes = []  # of the last frames: (sequence, frame, status, data)

    def feed(self, data):
        """Return what the board sends when it gets these bytes."""
        sent = bytearray()
        for byte in data:
            if byte != FLAG:
                self._line.append(byte)
                continue
            body = decode_frame(bytes(self._line))
            too_long = body is not None and len(body) > REQUEST_BYTES + MAX_DATA
            if body is not None and not too_long and len(body) >= REQUEST_BYTES:
                sent += encode_frame(self._answer(body))
            elif self._line and (body is None or too_long):
                self.ping["dropped_frames"] = self.ping.get("dropped_frames", 0) + 1
            self._line.clear()
        return bytes(sent)

    def cut(self):
        """Forget the frame that is on its way, as after a framing error."""
        self._line += b"\0"

    def _answer(self, body):
        fields, offset = {}, 0
        for name, size in REQUEST:
            fields[name] = int.from_bytes(body[offset : offset + size], "little")
            offset += size
        data, sequence = body[offset:], fields["sequence"]
        name = _NAMES.get(fields["opcode"])
        well_formed = name is not None and self._lengths_are_right(name, fields["count"], data)
        if name == "ping" and well_formed:
            self._outcomes = []
            status, value = "ok", self._ping(fields["addr"])
        elif sequence == self._expected:
            status, value = "bad_request", b""
            if well_formed:
                status, value = self._carry_out(name, fields["addr"], fields["count"], data)
        else:
            return self._reply(fields, *self._again(sequence, body, name, fields))
        self._expected = (sequence + 1) % 256
        self._outcomes = [*self._outcomes, (sequence, body, status, value)][-WINDOW:]
        return self._reply(fields, status, value)

    def _again(self, sequence, body, name, fields):
        for earlier, frame, status, value in self._outcomes:
            if earlier == sequence:
                if frame != body:
                    return "conflict", b""
                if name == "read_memory" and status == "ok":
                    return self._carry_out(name, fields["addr"], fields["count"], b"")
                return status, b"" if name == "ping" else value
        return "gap", b""

    @staticmethod
    def _reply(fields, status, value):
        head = bytes([fields["opcode"] | REPLY_BIT, fields["sequence"]])
        return head + value + bytes([STATUSES[status]])

    @staticmethod
    def _lengths_are_right(name, count, data):
        allowed = {
            "ping": [0],
            "reset": [0],
            "read_register": [REGISTER_BYTES],
            "write_register": [REGISTER_BYTES],
        }.get(name, range(1, MAX_DATA + 1))
        return count in allowed and len(data) == (count if OPCODES[name].has_data else 0)

    def _ping(self, nonce):
        values = self.ping | {"nonce": nonce}
        return b"".join(values.get(name, 0).to_bytes(size, "little") for name, size in PING)

    def _carry_out(self, name, addr, count, data):
        if name.endswith("register") and (addr % 4 or addr >= 1 << 12):
            return "bad_address", b""
        if name.endswith("memory") and addr + count > len(self.memory):
            return "bad_address", b""
        self.carried_out.append((name, addr))
        if name == "reset":
            self.resets += 1
        elif name.endswith("register") and addr not in self.registers:
            return "bus_error", b""
        elif name == "read_register":
            return "ok", self.registers[addr].to_bytes(4, "little")
        elif name == "write_register":
            self.registers[addr] = int.from_bytes(data, "little")
        elif name == "read_memory":
            return "ok", bytes(self.memory[addr : addr + count])
        else:
            self.memory[addr : addr + count] = data
        return "ok", b""
