"""The command `quantscope calibrate`: its options, its work, and its result as text."""
