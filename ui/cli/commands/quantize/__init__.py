"""The command `quantscope quantize`: its options, its work, and its result as text."""
