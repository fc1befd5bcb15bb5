"""Counts in sentences."""


def plural(count: int, noun: str, several: str = "") -> str:
    """`3 layers`, `1 layer`; `several` where the plural is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
