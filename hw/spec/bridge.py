"""The debug bridge's protocol: frames on a serial line, read by the board, host and documents.

A frame is FLAG, a body, its CRC-32 (little-endian) and FLAG. Inside, FLAG and ESCAPE are sent as
ESCAPE and the byte xor ESCAPE_XOR. No length is trusted before the CRC is: what lies between two
flags either is a whole frame or is dropped without an answer, and the next flag begins afresh.

The body of a request is REQUEST, then data. A reply's is the opcode with REPLY_BIT, the sequence
number of the request, data, and a byte of STATUSES; data means something only with ``ok``.

``ping`` may have any sequence number, and its successor is expected next. Any other frame is
carried out if it has the number that is expected. One of the WINDOW frames before that is answered
again, from memory, and not carried out again (but memory is read again). All others are answered
``gap``.
"""

import zlib
from dataclasses import dataclass, fields

__all__ = [
    "BOARDS",
    "CRC_BYTES",
    "ESCAPE",
    "ESCAPE_XOR",
    "FLAG",
    "MAGIC",
    "MAX_DATA",
    "OPCODES",
    "PING",
    "PING_BYTES",
    "REGISTER_BYTES",
    "REPLY_BIT",
    "REQUEST",
    "REQUEST_BYTES",
    "STATUSES",
    "VERSION",
    "WINDOW",
    "Opcode",
    "config_digest",
    "decode_frame",
    "decode_ping",
    "encode_frame",
    "encode_request",
]

VERSION = 1  #: of this protocol; the ping's frames are the same in all versions
MAGIC = 0x42525253  #: "SRRB", the first word of a ping's reply

FLAG, ESCAPE, ESCAPE_XOR = 0x7E, 0x7D, 0x20
CRC_BYTES = 4
MAX_DATA = 512  #: bytes of memory that a frame reads or writes, at most
WINDOW = 16  #: frames that a host may have sent without an answer
REGISTER_BYTES = 4
REPLY_BIT = 0x80

#: Fields of a request's header from its first byte on, as (name, bytes), little-endian. ``count``:
#: bytes to read or write. ``addr``: of memory or of a register, in bytes; a ping's is returned.
REQUEST = (("opcode", 1), ("sequence", 1), ("count", 2), ("addr", 4))
REQUEST_BYTES = sum(size for _, size in REQUEST)


@dataclass(frozen=True)
class Opcode:
    """Code of a request, whether it has data (``count`` bytes), and its meaning."""

    code: int
    has_data: bool
    doc: str


OPCODES = {
    "ping": Opcode(0x01, False, "PING; count is 0. Begins a session"),
    "read_register": Opcode(0x02, False, "a register of the chip; count is REGISTER_BYTES"),
    "write_register": Opcode(0x03, True, "a register of the chip; count is REGISTER_BYTES"),
    "read_memory": Opcode(0x04, False, "1 to MAX_DATA bytes, from any address"),
    "write_memory": Opcode(0x05, True, "1 to MAX_DATA bytes, to any address"),
    "reset": Opcode(0x06, False, "resets chip and memory controller; count is 0"),
}

STATUSES = {
    "ok": 0,
    "gap": 1,  # a frame before this one is missing: nothing was done
    "bad_request": 2,  # opcode or lengths are not as above: nothing was done
    "bad_address": 3,  # outside memory or registers, or not a register's: nothing was done
    "bus_error": 4,  # SLVERR or DECERR
    "timeout": 5,  # the bus did not answer in time; what was under way may still happen
    "conflict": 6,  # another frame had this sequence number: nothing was done
}

#: Fields of the reply to a ping, as `REQUEST`. ``nonce``: the request's ``addr``. ``cycles``: of
#: the clock, since power-on. The last three count since power-on, up to 0xFFFF.
PING = (
    ("magic", 4),
    ("version", 2),
    ("board", 2),
    ("nonce", 4),
    ("config_digest", 4),
    ("clock_hz", 4),
    ("memory_bytes", 4),
    ("cycles", 8),
    ("dropped_frames", 2),  # bad CRC, cut, too long, or no room
    ("framing_errors", 2),  # bytes without a stop bit
    ("breaks", 2),  # times that the line was held low for a byte or longer
    ("spare", 2),
)
PING_BYTES = sum(size for _, size in PING)

#: Values of the ping's ``board``.
BOARDS = {"ulx3s": 1, "ulx4m_ls": 3}  # 2 is of no board


def config_digest(config):
    """Return 32 bits that tell one `ArchConfig` from another."""
    text = ",".join(f"{field.name}={getattr(config, field.name)}" for field in fields(config))
    return zlib.crc32(text.encode())


def encode_frame(body):
    """Return the bytes on the line for a body."""
    raw = body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    line = bytearray([FLAG])
    for byte in raw:
        if byte in (FLAG, ESCAPE):
            line += bytes([ESCAPE, byte ^ ESCAPE_XOR])
        else:
            line.append(byte)
    line.append(FLAG)
    return bytes(line)


def decode_frame(line):
    """Return the body of what lay between two flags, or None if that is no whole frame."""
    raw, escaped = bytearray(), False
    for byte in line:
        if escaped:
            raw.append(byte ^ ESCAPE_XOR)
            escaped = False
        elif byte == ESCAPE:
            escaped = True
        else:
            raw.append(byte)
    body, crc = bytes(raw[:-CRC_BYTES]), bytes(raw[-CRC_BYTES:])
    whole = body and not escaped and crc == zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    return body if whole else None


def encode_request(name, sequence, *, count=0, addr=0, data=b""):
    """Return the body of a request; ValueError if a field does not hold its value."""
    values = {"opcode": OPCODES[name].code, "sequence": sequence, "count": count, "addr": addr}
    body = bytearray()
    for field, size in REQUEST:
        value = values[field]
        if not 0 <= value < 1 << 8 * size:
            raise ValueError(f"{field} must be 0 to {(1 << 8 * size) - 1}, not {value!r}")
        body += value.to_bytes(size, "little")
    return bytes(body) + data


def decode_ping(data):
    """Return the fields of a ping's reply; ValueError if it is too short to be one.

    A later version may have more fields behind those that this one knows.
    """
    if len(data) < PING_BYTES:
        raise ValueError(f"a ping's reply must have {PING_BYTES} bytes, not {len(data)}")
    values, offset = {}, 0
    for name, size in PING:
        values[name] = int.from_bytes(data[offset : offset + size], "little")
        offset += size
    return values
