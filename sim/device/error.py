"""What a driver raises."""

from hw.spec.csr import ERRORS
from hw.spec.memories import memory_name

__all__ = [
    "CAUSES",
    "AccessRefused",
    "BadAnswer",
    "ChipError",
    "DeviceError",
    "NoAnswer",
    "NoInterrupt",
    "PortError",
    "RequestFailed",
    "WrongBoard",
    "WrongVersion",
]

#: What each cause of `hw.spec.csr.ERRORS` means, with ``error_addr`` or an event's detail in it.
CAUSES = {
    "none": "no error",
    "bad_opcode": "the operator word at {addr:#010x} has an opcode that the chip does not know",
    "bad_field": "the operator word at {addr:#010x} has a field that the chip cannot run",
    "bad_address": "address {addr:#010x} is outside the region it must lie in",
    "axi_slverr": "the memory answered the burst at {addr:#010x} with SLVERR",
    "axi_decerr": "the memory answered the burst at {addr:#010x} with DECERR: nothing is there",
    "page_miss": "position {addr} has no page in the page table",
    "too_long": "the sequence reaches position {addr}, past the chip's or the model's context",
    "watchdog": "nothing moved for as many cycles as the watchdog allows",
    "busy_start": "start was written while a run was on; that run went on",
    "bad_request": "a number that is not allowed: {addr}",
    "bad_page": "page {addr} is outside the KV region, or another request's",
    "bad_token": "the prompt has token {addr}, which the vocabulary does not have",
    "memory_parity": "a word of the chip's memory {memory} had lost a bit",
}
_NAMES = {code: name for name, code in ERRORS.items()}


class DeviceError(Exception):
    """The device is not what it must be, or does not answer as it must."""


class PortError(DeviceError):
    """The serial port cannot be opened, or is gone."""


class NoAnswer(DeviceError):
    """What a board would say does not come."""


class BadAnswer(DeviceError):
    """What the chip says makes no sense."""


class NoInterrupt(DeviceError):
    """The chip runs, and neither writes an event nor ends."""


class WrongVersion(DeviceError):
    """The board's bridge has another version than this driver."""


class WrongBoard(DeviceError):
    """The bitstream is for another board."""


class AccessRefused(DeviceError):
    """The board has not done what one frame asked for.

    Attributes
    ----------
    status : str
        A name of `hw.spec.bridge.STATUSES`.
    """

    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


def _describe(cause, addr):
    """Return the name of a cause (a number), and the text of an error."""
    name = _NAMES.get(cause, f"cause {cause}")
    text = CAUSES.get(name, "an error this driver does not know, at {addr:#010x}")
    return name, f"{name}: {text.format(addr=addr, memory=memory_name(addr))}"


class ChipError(DeviceError):
    """A run ended by an error, and all its requests with it.

    Attributes
    ----------
    cause : str
        A name of `hw.spec.csr.ERRORS`.
    addr : int
        The register ``error_addr``.
    op_id : int
        The register ``error_op``.
    operator : str
        Name of that operator.
    """

    def __init__(self, cause, addr, op_id, operator):
        self.cause, text = _describe(cause, addr)
        self.addr = addr
        self.op_id = op_id
        self.operator = operator
        super().__init__(f"{text} (while '{operator}' ran)")


class RequestFailed(DeviceError):
    """A request ended by an error of its own; others went on.

    Parameters
    ----------
    event : Event
        Its last, of kind ``failed``.

    Attributes
    ----------
    request_id : int
    cause : str
        A name of `hw.spec.csr.ERRORS`.
    detail : int
        The address or number that the error is about.
    """

    def __init__(self, event):
        self.request_id = event.request_id
        self.cause, text = _describe(event.cause, event.detail)
        self.detail = event.detail
        super().__init__(f"request {event.request_id}: {text}")
