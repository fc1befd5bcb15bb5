"""The story of a project for people who do not know quantization, slide by slide.

What int8 is, what it saved, what it cost, where that shows, what was done about it, and what remains to be
checked. Everything follows from `Facts`; nothing is claimed that was not measured.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace

from quantscope.ui.content import (
    story_checks,
    story_cost,
    story_explained,
    story_results,
    story_saved,
    story_terms,
)
from quantscope.ui.content.story_facts import Facts
from quantscope.ui.content.story_records import Deck, Slide, Term, Words
from quantscope.ui.content.story_sentence import headline

_UNREAD = frozenset({"alt", "notes", "key", "kind", "image", "terms"})  # not on the screen of the audience
_PARTS: tuple[Callable[[Facts], Slide | None], ...] = (
    story_results.opening,
    story_explained.idea,
    story_explained.values,
    story_explained.steps,
    story_explained.cut,
    story_saved.saved,
    story_cost.cost,
    story_results.examples,
    story_results.done,
    story_checks.remaining,
)


def deck(facts: Facts) -> Deck:
    """The slides of a project, every term explained on the slide that uses it first."""
    known: list[Term] = []
    slides = []
    for part in _PARTS:
        slide = part(facts)
        if slide is None:
            continue
        new = tuple(term for term in story_terms.used(read(slide)) if term not in known)
        known += new
        slides.append(replace(slide, terms=new))
    return Deck(
        title=facts.name,
        headline=headline(facts),
        slides=(*slides, _words(known)),
        banner=(
            "Made-up inputs: the figures on quality mean nothing until real samples are given."
            if facts.trust.synthetic
            else ""
        ),
    )


def read(record: object) -> Iterator[str]:
    """All texts of a slide that the audience reads."""
    if isinstance(record, str):
        yield record
    elif isinstance(record, tuple):
        for item in record:
            yield from read(item)
    elif is_dataclass(record):
        for field in fields(record):
            if field.name not in _UNREAD:
                yield from read(getattr(record, field.name))


def _words(known: list[Term]) -> Slide:
    terms = tuple(term for term in story_terms.ALL if term in known)
    return Slide(
        key="words",
        title="The words used here",
        sentences=(),
        picture=Words(items=terms),
        alt="; ".join(f"{term.word}: {term.meaning}" for term in terms),
        notes=("For questions afterwards, and for who reads this without you.",),
    )
