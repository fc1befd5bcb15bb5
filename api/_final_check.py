"""What the engine found wrong with a finished model, in words for those who write Python."""

from __future__ import annotations

from quantscope.core.tuning import AllFloat, AllFloatReason, FinalCheck

TUNE = "tune() looks for a better recipe, and sensitivity() ranks the layers to leave in float"


def of_quantized(found: FinalCheck) -> tuple[str, ...]:
    """What is wrong with a quantized model, and what helps."""
    said = faults(found)
    if found.remedy is not None:
        said = (*said, f"{found.remedy.sentence}. The recipe with it is the result's `remedy`")
    elif said:
        said = (*said, TUNE)
    if found.minmax is not None:
        said = (*said, f"{found.minmax.sentence}; best_default() finds what measures best")
    return said


def of_tuned(found: FinalCheck | AllFloat) -> tuple[str, ...]:
    """What must not be missed about the recipe that tuning ends with."""
    if isinstance(found, AllFloat):
        aim = found.reason is AllFloatReason.AIM
        return (found.sentence if aim else f"{why(found)}, so the recipe quantizes nothing",)
    said = faults(found)
    if found.remedy is not None:
        return (*said, f"{found.remedy.sentence}. Write it into the recipe with with_layer()")
    return (*said, "tuning found nothing better: sensitivity() ranks the layers") if said else ()


def faults(found: FinalCheck) -> tuple[str, ...]:
    """What is wrong, with advice where no remedy was measured."""
    return found.faults() if found.remedy is not None else found.faults(lambda one: one.advice)


def why(found: AllFloat) -> str:
    """Why nothing is quantized, and where to look."""
    if found.reason is AllFloatReason.OPERATORS:
        return f"{found.sentence} (inspect() shows what it is made of)"
    return found.sentence
