"""Waveforms of short scenarios: recorded, compared, drawn, shown."""
