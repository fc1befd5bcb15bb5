"""The command `quantscope compare`: its options, its work, and its result as text."""
