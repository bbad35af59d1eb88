"""Write `harness.sv`: the chip with its memories, its probes, a clock and a cycle counter."""

from pathlib import Path

__all__ = ["COUNTERS", "PUBLIC", "READABLE", "TOP", "generate", "image_plusargs", "write"]

HERE = Path(__file__).resolve().parent
TOP = "harness"

ID_WIDTH = 4
ADDR_WIDTH = 32

# Name, width and whether the subordinate drives it; None is the width of the data.
AXIL = (
    ("awaddr", 12, False),
    ("awvalid", 1, False),
    ("awready", 1, True),
    ("wdata", 32, False),
    ("wstrb", 4, False),
    ("wvalid", 1, False),
    ("wready", 1, True),
    ("bresp", 2, True),
    ("bvalid", 1, True),
    ("bready", 1, False),
    ("araddr", 12, False),
    ("arvalid", 1, False),
    ("arready", 1, True),
    ("rdata", 32, True),
    ("rresp", 2, True),
    ("rvalid", 1, True),
    ("rready", 1, False),
)


def axi(data_bytes):
    """Return the signals of an AXI4 port like `AXIL`."""
    address = (("id", ID_WIDTH), ("addr", ADDR_WIDTH), ("len", 8), ("size", 3), ("burst", 2))
    return (
        *((f"aw{name}", width, False) for name, width in address),
        ("awvalid", 1, False),
        ("awready", 1, True),
        ("wdata", 8 * data_bytes, False),
        ("wstrb", data_bytes, False),
        ("wlast", 1, False),
        ("wvalid", 1, False),
        ("wready", 1, True),
        ("bid", ID_WIDTH, True),
        ("bresp", 2, True),
        ("bvalid", 1, True),
        ("bready", 1, False),
        *((f"ar{name}", width, False) for name, width in address),
        ("arvalid", 1, False),
        ("arready", 1, True),
        ("rid", ID_WIDTH, True),
        ("rdata", 8 * data_bytes, True),
        ("rresp", 2, True),
        ("rlast", 1, True),
        ("rvalid", 1, True),
        ("rready", 1, False),
    )


PUBLIC = ("rst", *(f"s_axil_{name}" for name, _, driven in AXIL if not driven))
READABLE = (
    "clk",
    "irq",
    "cycle",
    "dram*",
    *(f"s_axil_{name}" for name, _, driven in AXIL if driven),
)


#: Of each memory channel, as ``dram<t>_<name>``.
COUNTERS = ("bytes_read", "bytes_written", "busy_cycles", "ecc_corrected", "ecc_uncorrected")


def image_plusargs(path, memory_map):
    """Return the plusargs that give each memory channel its part of the image of a `MemoryMap`."""
    images = [f"+image{channel}={path}" for channel in range(memory_map.channels)]
    return [*images, f"+channel_bytes={memory_map.channel_bytes}"]


def _range(width):
    return f"[{width - 1}:0] " if width > 1 else ""


def generate(*, tiles, data_bytes, probes=(), units_width=0, more=""):
    """Return the text of the module ``harness``.

    Its ports are ``rst``, ``irq`` and the AXI4-Lite port ``s_axil_*``; ``clk`` (10 ns) and the
    64-bit ``cycle``, the number of the last clock edge, are signals that cocotb may read. Each
    tile t has a memory channel, an `axi_dram`, with its counters ``dram<t>_<name>`` of `COUNTERS`,
    which cocotb may read too.

    Built with ``trace=True``, it writes a waveform to the file of ``+wave=``, of the cycles from
    ``+wave_from=`` (0) to ``+wave_to=``, where the simulation then ends.

    Parameters
    ----------
    tiles : int
        AXI4 managers ``m<t>_axi`` of the module ``serrano``.
    data_bytes : int
        Width of each, in bytes.
    probes : iterable of (name, kind, width)
        Its trace ports ``trace_<name>_{valid,op,row,index,data}``, what their records are to be
        marked with (u16), and the width of ``data`` in bits.
    units_width : int
        Width of its port ``trace_units``, whose changes `units.sv` writes; 0 if it has none.
    more : str
        More lines of the module, for those who make faults.
    """
    ports = [f"input {_range(w)}s_axil_{n}" for n, w, driven in AXIL if not driven]
    ports += [f"output {_range(w)}s_axil_{n}" for n, w, driven in AXIL if driven]
    chip = [".clk(clk)", ".rst(rst)", ".irq(irq)"]
    chip += [f".s_axil_{n}(s_axil_{n})" for n, _, _ in AXIL]
    body = []
    for t in range(tiles):
        signals = axi(data_bytes)
        body += [f"wire [63:0] dram{t}_{name};" for name in COUNTERS]
        body += [f"wire {_range(w)}m{t}_axi_{n};" for n, w, _ in signals]
        chip += [f".m{t}_axi_{n}(m{t}_axi_{n})" for n, _, _ in signals]
        links = ", ".join(f".s_axi_{n}(m{t}_axi_{n})" for n, _, _ in signals)
        body.append(
            f"axi_dram #(.CHANNEL({t}), .ADDR_WIDTH({ADDR_WIDTH}), .DATA_BYTES({data_bytes}), "
            f".ID_WIDTH({ID_WIDTH})) dram{t} (.clk(clk), .rst(rst), {links}, "
            f"{', '.join(f'.{name}(dram{t}_{name})' for name in COUNTERS)});"
        )
    for name, kind, width in probes:
        fields = {"valid": 1, "op": 16, "row": 16, "index": 16, "data": width}
        body += [f"wire {_range(w)}trace_{name}_{field};" for field, w in fields.items()]
        links = [f".{field}(trace_{name}_{field})" for field in fields]
        chip += [f".trace_{name}_{field}(trace_{name}_{field})" for field in fields]
        body.append(
            f"probe #(.KIND({kind}), .WIDTH({width})) probe_{name} "
            f"(.clk(clk), .cycle(cycle), {', '.join(links)});"
        )
    if units_width:
        body.append(f"wire {_range(units_width)}trace_units;")
        body.append(
            f"units #(.WIDTH({units_width})) units (.clk(clk), .cycle(cycle), .bits(trace_units));"
        )
        chip.append(".trace_units(trace_units)")
    body.append(f"serrano chip (\n        {f',{chr(10)}        '.join(chip)}\n    );")
    lines = "\n    ".join(body)
    return f"""\
// Written by sim/harness/harness.py.

module {TOP} (
    input rst,
    output irq,
    {f",{chr(10)}    ".join(ports)}
);

    reg clk = 0;
    always #5 clk = ~clk;

    reg [63:0] cycle = 0;
    always @(posedge clk) cycle <= cycle + 1;

    import "DPI-C" function void probe_flush();
    always @(posedge irq) probe_flush();
    final probe_flush();

    // A waveform of a window, where the simulator was built with one.
    string wave_path;
    longint wave_from = 0, wave_to = -1;
    bit wave = 0;
    initial begin
        wave = $value$plusargs("wave=%s", wave_path) != 0;
        void'($value$plusargs("wave_from=%d", wave_from));
        void'($value$plusargs("wave_to=%d", wave_to));
    end
    always @(posedge clk) begin
        if (wave) begin
            if (cycle == wave_from) begin
                $dumpfile(wave_path);
                $dumpvars(0, {TOP});
            end
            if (cycle == wave_to) $finish;  // $dumpoff would do nothing
        end
    end

    {lines}
{more}
endmodule
"""


def write(folder, *, tiles, data_bytes, probes=(), units_width=0, more=""):
    """Write ``harness.sv`` to a folder; return all sources that `verilate.build` needs for it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "harness.sv"
    text = generate(
        tiles=tiles, data_bytes=data_bytes, probes=probes, units_width=units_width, more=more
    )
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    names = ["axi_dram.sv", "probe.sv", "axi_dram.cpp", "probe.cpp"]
    if units_width:
        names += ["units.sv", "units.cpp"]
    return [path, *(HERE / name for name in names)]
