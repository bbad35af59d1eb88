"""The bring-up ladder: from the first byte of a board's serial line to tokens, one file a rung."""
