"""The command `quantscope thresholds`: its options, its work, and its result as text."""
