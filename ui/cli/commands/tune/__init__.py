"""The command `quantscope tune`: its options, its work, and its result as text."""
