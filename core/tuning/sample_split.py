"""Which samples choose, and which judge: taken by content, so that the order of the data does not matter."""

from quantscope.core.data import Samples

HELD_OUT = 64  # samples that only the last comparison sees
FEWEST = 16  # samples of which some are held out


def split_samples(
    samples: Samples, most: int = HELD_OUT, fewest: int = FEWEST
) -> tuple[Samples, Samples | None]:
    """Samples to choose on, in the order of their content, and others to judge by; None if they are few.

    A third is held out, but no more than `most`; none of less than `fewest`.
    """
    order = samples.by_content()
    if len(order) < fewest:
        return samples.select(order), None
    held = min(most, len(order) // 3)
    return samples.select(order[:-held]), samples.select(order[-held:])


def representative_samples(samples: Samples, count: int) -> Samples:
    """Up to `count` samples, the same ones in whatever order the data come."""
    if len(samples) <= count:
        return samples
    return samples.select(sorted(samples.by_content()[:count]))
