"""The command `quantscope doctor`: its options, its work, and its result as text."""
