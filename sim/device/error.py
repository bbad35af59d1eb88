"""What a driver raises."""

from hw.spec.csr import ERRORS

__all__ = ["CAUSES", "ChipError", "DeviceError"]

#: What each cause of `hw.spec.csr.ERRORS` means, with the register ``error_addr`` in it.
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
    "bad_request": "the request has a number that is not allowed: {addr}",
    "bad_page": "the page at {addr:#010x} is not inside the KV region",
    "bad_token": "the prompt has token {addr}, which the vocabulary does not have",
}
_NAMES = {code: name for name, code in ERRORS.items()}


class DeviceError(Exception):
    """The device is not what it must be, or does not answer as it must."""


class ChipError(DeviceError):
    """A run ended by an error.

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
        self.cause = _NAMES.get(cause, f"cause {cause}")
        self.addr = addr
        self.op_id = op_id
        self.operator = operator
        text = CAUSES.get(self.cause, "an error this driver does not know, at {addr:#010x}")
        super().__init__(f"{self.cause}: {text.format(addr=addr)} (while '{operator}' ran)")
