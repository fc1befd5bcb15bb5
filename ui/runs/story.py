"""The story of the open project, from figures that are measured for its pages anyway."""

from dataclasses import replace

from quantscope.core.errors import QuantScopeError
from quantscope.core.evaluate import Comparison
from quantscope.core.memo import Recent
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import integer_sums
from quantscope.ui.content.basis import Data
from quantscope.ui.content.story import deck
from quantscope.ui.content.story_choices import deeds
from quantscope.ui.content.story_facts import Facts, Noun, Outcomes, Saving, Trust, ValuesOfTensor
from quantscope.ui.content.story_records import Deck
from quantscope.ui.content.story_sentence import headline
from quantscope.ui.content.story_tensor import example_weight, values_of
from quantscope.ui.runs import baseline, exporting, measured, step_figures, story_outcomes, versions, worst
from quantscope.ui.runs.measured import VERIFIED, Measured
from quantscope.ui.runs.measurement_work import guessing
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import cached
from quantscope.ui.session.state import Session, recipe_token

RECIPES = 16  # of a project, whose pictures are kept
DIGIT = Noun(one="digit", many="digits")
IMAGE = Noun(one="image", many="images")
SAMPLE = Noun(one="sample", many="samples")
PIXEL = Noun(one="pixel", many="pixels")
POSITION = Noun(one="position", many="positions")


def deck_of(now: Session) -> tuple[Deck, bool]:
    """The slides as far as they are known, and whether more is on its way."""
    found = facts(now)
    return deck(found), found.measuring


def sentence(now: Session) -> tuple[str, bool]:
    """The story in one sentence, "" where it is not known yet, and whether a better one is on its way.

    Samples are compared one by one only where there is a version before.
    """
    found = facts(now, whole_story=False)
    return headline(found), found.measuring


def before(now: Session) -> Version | None:
    """What the shown recipe is held against: the pinned version, else the first step; None if it is that."""
    pinned = baseline.baseline(now.project)
    if pinned is not None:
        found: Version | None = pinned.version
    else:
        number, parents = now.project.head, now.project.parents
        while (parent := parents.get(number, 0)) in parents:
            number = parent
        if number == now.project.head:
            return None
        found = versions.quantized_version(now.project, versions.step_key(number))
    if found is None:
        return None
    recipe = _recipe(now, found)
    return None if recipe is not None and recipe == now.recipe else found


def facts(now: Session, *, whole_story: bool = True) -> Facts:
    """What is known; what is not is asked for.

    Args:
        now: The open project.
        whole_story: Also what only slides show, such as samples where nothing was done yet.
    """
    earlier = before(now)
    whole = measured.whole(now)
    other: Measured[Outcomes] = Measured()
    if whole_story or earlier is not None:
        other = story_outcomes.outcomes(now, earlier)
    found, outcomes = whole.value, other.value
    accuracy = found.accuracy if found is not None else None
    noun = _noun(now)
    recipe = None if earlier is None else _recipe(now, earlier)
    return Facts(
        name=now.project.name,
        noun=noun,
        row_noun=(PIXEL if noun is IMAGE else POSITION)
        if accuracy is not None and accuracy.positions
        else noun,
        parameters=now.opened.model.parameters,
        bits=_bits(now),
        float_bits=_float_bits(now),
        before_label="" if earlier is None else earlier.label,
        before_name="" if earlier is None else _own_name(now, earlier),
        deeds=_deeds(now, earlier, recipe),
        untouched=replace(now.recipe, model_hash="") == Recipe(),
        weight=example_weight(now.model, now.encodings) if whole_story else None,
        values=_pictured(now, earlier, outcomes) if whole_story else None,
        cost=None if found is None else story_outcomes.cost_of(accuracy, found.output.sqnr_db, found.samples),
        saving=None
        if found is None
        else Saving(
            float_bytes=found.float_bytes, quantized_bytes=found.quantized_bytes, latency=found.latency
        ),
        outcomes=outcomes,
        trust=_trust(now, found, whole_story=whole_story),
        measuring=whole.running or other.running or (whole_story and measured.effect(now).running),
        error=whole.error or other.error,
    )


def _own_name(now: Session, version: Version) -> str:
    """What the user calls a version; the first step has no name of its own."""
    if version.name:
        return version.name
    return version.short if baseline.baseline(now.project) is not None else ""


def _recipe(now: Session, version: Version) -> Recipe | None:
    """The recipe of a version; None where it has none."""
    if version.kind is not Kind.STEP:
        return None
    try:
        return step_figures.recipe_of_step(now.project, version.number)
    except QuantScopeError:  # damaged: it cannot be held against
        return None


class _Pictured(Recent[ValuesOfTensor | None]):
    """What pictures show, by recipe: to find it takes a look at every histogram."""

    def __init__(self) -> None:
        super().__init__(RECIPES)


def _pictured(now: Session, earlier: Version | None, outcomes: Outcomes | None) -> ValuesOfTensor | None:
    known = cached.of_project(now.project.id, _Pictured, now.model.hash)
    key = (recipe_token(now.recipe), "" if earlier is None else earlier.key, outcomes is None)
    encoding = outcomes.before_encoding if outcomes is not None else None
    return known.get_or_make(
        key, lambda: values_of(now.model, now.workspace.statistics, now.encodings, encoding)
    )


def _deeds(now: Session, earlier: Version | None, recipe: Recipe | None) -> tuple[tuple[str, str], ...]:
    if earlier is None:
        return ()
    if earlier.kind is Kind.FILE or recipe is None:
        return (
            (
                "It was quantized anew",
                f"“{earlier.short}” was made elsewhere; here the original network was quantized again.",
            ),
        )
    return deeds(recipe, replace(now.recipe, model_hash=recipe.model_hash))


def _noun(now: Session) -> Noun:
    """What the project's samples are called."""
    source = now.project.model
    if source.kind == "sample" and source.path.startswith("digits"):
        return DIGIT
    for info in now.opened.model.inputs:
        shape = info.shape or ()
        channels = {shape[1], shape[3]} if len(shape) == 4 else set()
        if channels & {1, 3, 4} and info.dtype.kind in "fu":
            return IMAGE
    return SAMPLE


def _bits(now: Session) -> int:
    kinds = [encoding.type.bits for encoding in now.encodings.activations.values()]
    return 16 if kinds and min(kinds) == 16 else 8


def _float_bits(now: Session) -> int:
    """Of the weights in the user's file; of 32 bits each, they alone would be larger than such a file."""
    model = now.opened.model
    return 16 if model.size_bytes < 3 * model.parameters else 32


def _trust(now: Session, found: Comparison | None, *, whole_story: bool) -> Trust:
    basis = measured.judged_basis(now)
    judged = now.workspace.judged
    labels = judged.labels if judged is not None else None
    accuracy = found.accuracy if found is not None else None
    computed = [layer for layer in now.model.layers if layer.kind == "compute"]
    stays = exporting.stays_float(now.model, now.recipe, now.encodings)
    verified = cached.pool().peek(measured.key_of(VERIFIED, now))
    # The table of layers is made once their errors are there: for thousands of layers it takes seconds.
    known = whole_story and measured.effect(now).value is not None
    standing = next(iter(worst.worst(now, 1)), None) if known else None
    flagged = standing is not None and standing.flagged
    return Trust(
        samples=basis.samples,
        evaluation=basis.data is Data.EVALUATION,
        calibration=now.workspace.statistics.samples,
        synthetic=basis.data is Data.RANDOM or now.workspace.statistics.synthetic,
        guessing=labels is not None and guessing(accuracy, labels),
        labelled=accuracy is not None and accuracy.float_top1 is not None,
        lost_outputs=len(found.lost) if found is not None else 0,
        default_differs=found is not None and found.default is not None and not found.default.equal,
        slow_integers=integer_sums().saturates,
        verified=None if verified is None or verified.result is None else verified.result.identical,
        float_layers=len(stays),
        float_weights=sum(now.model.layer(name).parameters for name, _ in stays)
        / max(1, sum(layer.parameters for layer in computed)),
        layers=len(computed),
        worst=standing.layer if standing is not None and flagged else "",
        worst_words=standing.words if standing is not None and flagged else "",
    )
