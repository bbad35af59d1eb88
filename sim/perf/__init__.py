"""Measures the chip, and predicts what it takes: cycles, not bits."""
