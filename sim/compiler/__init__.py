"""From a checkpoint to a memory image and a program of operator words."""
