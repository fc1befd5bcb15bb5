"""The command `quantscope inspect`: its options, its work, and its result as text."""
