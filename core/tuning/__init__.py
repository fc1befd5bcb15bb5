"""What to do about a loss: choices, fixes and precisions that measurement finds better."""
