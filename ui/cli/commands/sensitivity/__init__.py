"""The command `quantscope sensitivity`: its options, its work, and its result as text."""
