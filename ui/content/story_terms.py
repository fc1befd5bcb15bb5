"""Words that somebody who never quantized anything may not know, each explained in one plain sentence."""

import re
from collections.abc import Iterable

from quantscope.ui.content.story_records import Term

# Each with the pattern that finds it in a text. The order is that of the list at the end of a deck.
_TERMS: tuple[tuple[str, Term], ...] = tuple(
    (pattern, Term(word=word, meaning=meaning))
    for word, pattern, meaning in (
        (
            "network",
            r"networks?",
            "A program that was not written by hand but learned from examples; also called a model.",
        ),
        ("layer", r"layers?", "One of the stages in which a network computes, from its input to its answer."),
        ("weight", r"weights?", "A number that the network has learned."),
        ("channel", r"channels?", "One of the parallel strands of numbers within a layer."),
        ("bit", r"bits?", "The smallest unit of memory: a 0 or a 1."),
        (
            "quantization",
            r"quanti[sz]\w+",
            "Storing a network's numbers as small whole numbers, so that they take less room.",
        ),
        ("int8", r"int8", "Whole numbers from −128 to 127, or from 0 to 255: there are only 256 of them."),
        ("int16", r"int16", "Whole numbers from −32,768 to 32,767: there are 65,536 of them."),
        ("histogram", r"histograms?", "A chart of how often values occur: the taller a bar, the more often."),
        ("step", r"steps?", "The distance between two neighbouring values that can be stored."),
        ("range", r"ranges?", "All that can be stored, from the smallest value to the largest."),
        ("outlier", r"outliers?", "A rare value far away from all others."),
        ("sample", r"samples?", "One example that is given to the network, such as one image."),
        (
            "calibration samples",
            r"calibration samples?",
            "Examples that the settings are chosen by, before the network is used.",
        ),
        (
            "evaluation samples",
            r"evaluation samples?",
            "Examples kept apart to judge the result by, so that nothing could be fitted to them.",
        ),
        (
            "position",
            r"positions?",
            "One place of a sample that gets an answer of its own, such as a pixel or a word.",
        ),
        ("label", r"labels?", "The right answer that comes with an example."),
        ("output", r"outputs?", "The numbers that a network computes as its answer."),
        (
            "runtime",
            r"runtimes?|ONNX Runtime",
            "The program that runs a network on a device, such as ONNX Runtime.",
        ),
        ("thread", r"threads?", "One worker of a processor; several can compute at the same time."),
    )
)
_PATTERNS = tuple((re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), term) for pattern, term in _TERMS)
ALL = tuple(term for _, term in _TERMS)


def used(texts: Iterable[str]) -> tuple[Term, ...]:
    """Terms that occur in some texts."""
    text = "\n".join(texts)
    return tuple(term for pattern, term in _PATTERNS if pattern.search(text))
