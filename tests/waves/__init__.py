"""References of the waveform regression, and the bench of its scenarios of the whole chip."""
