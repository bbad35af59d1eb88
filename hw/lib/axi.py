"""AXI4 and AXI4-Lite as signatures, with the members' names from the specification."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "Axi4",
    "Axi4Lite",
    "BURST_INCR",
    "PAGE_BYTES",
    "RESP_DECERR",
    "RESP_OKAY",
    "RESP_SLVERR",
]

BURST_INCR = 1  #: value of ``awburst`` and ``arburst``: addresses count upwards
PAGE_BYTES = 4096  #: no burst crosses a multiple of this

#: Values of ``bresp`` and ``rresp``.
RESP_OKAY, RESP_SLVERR, RESP_DECERR = 0, 2, 3


class Axi4(wiring.Signature):
    """AXI4, seen from the manager.

    Parameters
    ----------
    data_bytes : int
        Width of ``wdata`` and ``rdata``, in bytes.
    addr_width : int
        Width of an address, in bits.
    id_width : int
        Width of an ID, in bits.
    """

    def __init__(self, *, data_bytes, addr_width=32, id_width=4):
        def address(channel):
            return {
                f"{channel}id": Out(id_width),
                f"{channel}addr": Out(addr_width),
                f"{channel}len": Out(8),
                f"{channel}size": Out(3),
                f"{channel}burst": Out(2),
                f"{channel}lock": Out(1),
                f"{channel}cache": Out(4),
                f"{channel}prot": Out(3),
                f"{channel}qos": Out(4),
                f"{channel}valid": Out(1),
                f"{channel}ready": In(1),
            }

        super().__init__({
            **address("aw"),
            "wdata": Out(8 * data_bytes),
            "wstrb": Out(data_bytes),
            "wlast": Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bid": In(id_width),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            **address("ar"),
            "rid": In(id_width),
            "rdata": In(8 * data_bytes),
            "rresp": In(2),
            "rlast": In(1),
            "rvalid": In(1),
            "rready": Out(1),
        })


class Axi4Lite(wiring.Signature):
    """AXI4-Lite with 32 data bits, seen from the manager.

    Parameters
    ----------
    addr_width : int
        Width of an address, in bits.
    """

    def __init__(self, *, addr_width):
        super().__init__({
            "awaddr": Out(addr_width),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(32),
            "wstrb": Out(4),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(addr_width),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(32),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        })
