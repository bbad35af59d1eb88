"""The scenarios of single units: a line each.

One test of the unit's own bench runs, on what the unit's own test builds; compared are all ports,
from the end of the reset. Where payloads belong to valid bits that are no stream, the line says so.
"""

from scripts.waves.scenario import Scenario, Unit
from scripts.waves.trace import Channel, Window
from scripts.waves.unit_run import CLOCK, RESET
from tests.support.bench import STALLS

__all__ = ["LEFT_OUT", "UNITS", "WITHIN"]

#: Stalls at random, and one in four: cocotb names them by their places in `STALLS`.
RANDOM, REGULAR = list(STALLS).index("at_random"), list(STALLS).index("one_in_four")
#: One stream stalls at random, the other regularly: valid waits for ready, and the reverse.
BOTH = f"/i_stall={RANDOM}/o_stall={REGULAR}"
STALL = f"/stall={RANDOM}"


def _beat(name, valid, *fields):
    """Return the channel of signals that mean something while a valid bit is set."""
    return Channel(name, tuple((one, f"dut.{one}") for one in fields), f"dut.{valid}")


_ARRAY = (
    _beat("weight", "weight_valid", "weight_row", "weight"),
    _beat("act", "act_valid", "act_swap", "act"),
    _beat("psum", "psum_valid", "psum"),
)

# Module, cocotb test, which parameters of the pytest function, cycles at most, channels.
_TABLE = [
    ("accumulator", "sums_and_reads_are_exact_in_every_cycle/rows=3/idle=0.5", 0, 80),
    ("activation", f"output_equals_golden{BOTH}", 0, 60),
    ("activation_memory", "a_block_is_written_and_one_read_each_cycle", 0, 80),
    ("admission", "a_page_takes_as_long_as_documented", 0, 120),
    ("attention", f"order_equals_nested_loops{STALL}/longest=1", 0, 80),
    ("attention_order", f"steps_equal_nested_loops{STALL}/seed=0", 0, 120),
    ("block_quantiser", f"output_equals_golden{BOTH}", 0, 80),
    ("bridge", "ping_tells_what_is_there", 0, 400),
    ("counter_bank", "sums_read_while_counting_are_of_a_moment_within", 0, 80),
    ("credit_queue", f"nothing_is_lost{BOTH}", 0, 60),
    ("csr", "constants_tell_what_was_built", 0, 150),
    ("drain", f"results_equal_golden{BOTH}", 0, 80),
    ("embedding", f"output_equals_golden{BOTH}", 0, 60),
    ("event_writer", "timing_is_as_documented", 0, 80),
    ("fetcher", f"each_client_gets_its_words{BOTH}", 0, 100),
    ("fork", f"every_stream_gets_all_payloads_in_order{BOTH}", 1, 60),
    ("gearbox", f"bytes_come_out_in_order{BOTH}", 0, 60),
    ("glu", f"products_equal_golden{BOTH}/rows=1", 0, 80),
    ("head_norm", f"heads_equal_golden{BOTH}", 0, 120),
    ("inverse_root", "latency_and_throughput_are_as_documented", 0, 90),
    ("kv_reader", f"descriptors_name_the_words_that_attention_takes{STALL}", 0, 100),
    ("kv_writer", "timing_is_as_documented/is_value=False", 0, 100),
    ("matmul", f"results_equal_golden{STALL}/bias=False", 0, 120),
    ("memory_controller", f"all_clients_get_and_write_what_they_ask_for{STALL}/latency=1", 0, 120),
    ("memory_share", f"both_read_back_what_they_wrote{STALL}/stalled=False", 0, 120),
    ("norm_operator", f"rows_equal_golden{BOTH}", 0, 100),
    ("page_owners", "pages_do_not_know_of_each_other/seed=0", 1, 100),
    ("page_table", "every_tile_and_the_writer_may_look_up_a_page_in_every_cycle", 0, 60),
    ("parity_guard", "each_memory_stops_the_run_with_its_code_until_it_is_over", 0, 80),
    ("program_fetch", "timing_is_as_documented", 0, 80),
    ("qkv_projection", f"queries_and_keys_are_rotated_as_golden_does{BOTH}", 0, 80),
    ("queue", f"order_is_kept{BOTH}", 1, 60),
    ("random_threshold", "a_threshold_takes_as_long_as_documented", 0, 100),
    ("reciprocal", "latency_and_throughput_are_as_documented", 0, 80),
    ("record_writer", "timing_is_as_documented", 0, 60),
    ("requantiser", f"output_equals_golden{BOTH}", 0, 240),
    ("residual", f"memory_and_orm_equal_golden{STALL}/reading=False", 0, 80),
    ("result_merge", f"linear_results_come_strip_by_strip_row_by_row{BOTH}", 2, 80),
    ("result_path", f"results_go_where_their_label_says{BOTH}", 0, 120),
    ("rmsnorm", f"output_equals_golden{BOTH}", 0, 100),
    ("rope", f"output_equals_golden{BOTH}", 0, 60),
    ("row_feeder", "a_job_leaves_nothing_to_the_next", 0, 80),
    ("row_tables", f"embedding_equals_golden{BOTH}", 0, 120),
    ("run_control", "core_rests_in_reset_until_the_bus_is_idle", 0, 60),
    ("sampler", f"tokens_equal_golden{BOTH}/valid=some", 0, 150),
    ("scheduler", "a_full_ring_of_events_waits_for_the_host", 0, 300),
    ("scores", f"probabilities_and_scales_equal_golden{STALL}", 0, 300),
    ("sequencer", f"work_and_streams_come_in_program_order{STALL}/longest=6", 0, 150),
    ("slice", f"order_is_kept{BOTH}", 0, 60),
    ("softmax", f"output_equals_golden{BOTH}", 0, 120),
    ("systolic_array", "sums_equal_golden/words=at_random/acts=at_random", 0, 80, _ARRAY),
    ("table_reader", f"entries_are_the_words_that_were_asked_for{BOTH}", 0, 80),
    ("tile", f"results_equal_golden_in_the_order_of_one_tile{STALL}/bias=False", 0, 150),
    ("token_choice", f"passes_equal_golden{BOTH}/valid=some", 0, 120),
    ("top_candidates", f"lists_equal_golden{BOTH}/valid=some", 0, 120),
    ("uart", "latency_is_as_documented", 0, 200),
    ("value_exponents", f"exponents_and_maxima_equal_slow_code{STALL}", 0, 100),
    ("visible_span", "outputs_equal_the_slow_way_in_the_documented_cycles/seed=1", 0, 60),
    ("weight_path", "words_stream_at_full_rate_across_descriptors/latency=1/beats=66", 0, 100),
    ("weight_streamer", f"words_are_those_that_descriptors_name{BOTH}/latency=0", 0, 100),
]

#: Modules without a scenario, and that of what they are part of.
WITHIN = {
    "burst_cutter": "memory_controller", "memory_reader": "memory_controller",
    "memory_writer": "memory_controller", "pass_planner": "scheduler", "pass_rows": "scheduler",
    "processing_element": "systolic_array", "weight_loader": "weight_path",
    "uart_receiver": "uart", "uart_transmitter": "uart",
    **dict.fromkeys(
        ("bridge_check", "bridge_history", "bridge_memory", "bridge_ping", "bridge_receiver",
         "bridge_registers", "bridge_transmitter"), "bridge",
    ),
    "core": "chip_token", "top": "chip_token",
}  # fmt: skip

_SDRAM = "the simulated SDRAM judges each of its commands and times"
_CELL = "a cell of the FPGA: its twin is proved, or simulated exhaustively"
#: Modules without a scenario at all, and why.
LEFT_OUT = {
    **{f"sdram_{part}": _SDRAM for part in (
        "columns", "commands", "controller", "cutter", "data", "reads", "refresh", "rows", "writes",
    )},
    "board_top": "bring-up runs it, bit by bit on the serial line",
    "fpga_top": "pins and clock of a board, around `board_top`",
    "global_buffer": _CELL, "mult18x18d": _CELL, "pll": _CELL,
    "parity_memory": "no port of it is one of the chip; its test flips every bit",
}  # fmt: skip

#: Those that the tests run: small to build, and the joints that everything else is made of.
FAST = ("queue", "requantiser", "slice", "systolic_array", "weight_streamer")


def _scenario(module, test, case, cycles, channels=None):
    window = Window((RESET, 0, 1), cycles=cycles)
    return Scenario(module, Unit(module, test, case), channels, window, CLOCK, fast=module in FAST)


UNITS = tuple(_scenario(*row) for row in _TABLE)
