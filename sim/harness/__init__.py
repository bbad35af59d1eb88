"""The whole-chip simulation kit: memory, probes and the harness around the chip."""
