"""Joint training: configuration, optimiser, checkpoints, and the loop of the recipes."""
