"""Why the layers on top of a ranking lose, and a button for each remedy, predicted and then measured."""

import math
from collections.abc import Sequence

import streamlit as st

from quantscope.core.sensitivity import RankingRow
from quantscope.core.tuning import OutputForecast, Remedy, output_forecast
from quantscope.core.tuning.causes import Cause, RemedyTrial
from quantscope.ui.components.refresh import signal
from quantscope.ui.content import text
from quantscope.ui.content.diagnosis import slower
from quantscope.ui.figures.sensitivity import Axis
from quantscope.ui.runs import rankings as runs
from quantscope.ui.runs import remedy_trials
from quantscope.ui.runs.rankings import Sweep
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import AppliedRemedy, Page
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common, job_progress

MIXED = 0.05  # dB or points; less is no change
OPEN = 4  # layers that are shown at once; the others are folded
OVERLAP = 0.05  # share by which causes of one layer may add up to more than all of its error
NO_REMEDY = "No change of this layer alone should win half a decibel."
COLUMNS = (2.6, 3.2, 3.2)  # button, predicted, measured


def render(
    now: state.Session, sweep: Sweep, scores: Sequence[RankingRow], axis: Axis, *, current: bool
) -> None:
    """Draw the part for the layers given, worst first."""
    looking = runs.causes_job(now)
    if not sweep.causes and looking is not None and looking.active:
        common.poll("looking", 0.4, _looking)
        return
    if not sweep.causes:
        if current:
            st.caption("It ended before causes were looked at; *Run* again looks at them.")
        return
    remedy_trials.start_waiting(now)
    _head(now, [r for s in scores for r in _remedies(sweep.causes.get(s.name, ()))])
    if not any(score.flagged for score in scores):
        st.caption("No layer is far beyond the others; these matter most.")
    _applied(now)
    for number, score in enumerate(scores[:OPEN]):
        with st.container(border=True):
            _layer(now, sweep, score, axis, number)
    for number, score in enumerate(scores[OPEN:], OPEN):
        with st.expander(_name(now, score, axis)):
            _layer(now, sweep, score, axis, number)


def _looking() -> None:
    """Causes of a cancelled ranking are on their way."""
    now = state.session()
    job = common.running("causes", runs.causes_job(now) if now is not None else None)
    if job is not None:
        st.progress(job.share, "Looking for causes in the layers ranked so far")


def _head(now: state.Session, remedies: Sequence[Remedy]) -> None:
    """Heading, and the way to measure everything."""
    job, known, token = remedy_trials.job(now), remedy_trials.trials_of(now), state.recipe_token(now.recipe)
    left = [
        r
        for r in remedies
        if remedy_trials.key(token, r) not in known.trials and r.applied(now.recipe) != now.recipe
    ]
    # Progress takes the button's place, so that nothing below moves.
    heading, side = st.columns([3, 4], vertical_alignment="bottom")
    heading.subheader("Why, and what helps", anchor=False)
    with side.container(height=56, border=False, horizontal_alignment="right", vertical_alignment="bottom"):
        if job is not None and job.active:
            common.poll("remedies", 0.4, _measuring, known.done)
        elif left:
            st.button(
                "Measure all",
                key="sens_measure_all",
                icon=":material/straighten:",
                on_click=_want,
                args=(left,),
                help="Builds the quantized model once more for each remedy, and runs it on samples that "
                "were used neither for thresholds nor for this ranking. The recipe stays as it is.",
            )
    if job is not None and not job.active and job.error:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")


def _measuring(drawn: int) -> None:
    """Progress of the trials; the page is drawn again after each."""
    now = state.session()
    job = common.running("remedies", remedy_trials.job(now) if now is not None else None)
    if now is None or job is None:
        return
    done = remedy_trials.trials_of(now).done
    if done != drawn:
        signal("remedies", f"{job.id} {done}")
    job_progress.line(job, "remedies", f"Measuring: {common.progress_words(job)}", stop=_cancel)


def _layer(now: state.Session, sweep: Sweep, score: RankingRow, axis: Axis, number: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(_name(now, score, axis) if number < OPEN else "", width="stretch")
        inspect_button(score.name, f"sens_inspect_{number}")
    found = sweep.causes.get(score.name)
    if not found:
        st.caption(
            "Its own quantizers lose nothing that can be measured."
            if found is not None
            else "Not looked at yet; run again."
        )
        return
    single, told = len(found) == 1, 0.0
    for cause in found:
        share = "" if single and cause.share > 0.99 else f" :gray[({_part(cause, told)})]"
        told += cause.share
        st.markdown(f"{'' if single else '- '}{text.escape(cause.sentence)}{share}")
    remedies = _remedies(found)
    if not remedies:
        st.caption(NO_REMEDY)
        return
    for column, words in zip(st.columns(COLUMNS), ("", "Predicted", "Measured"), strict=True):
        column.caption(words)
    for at, remedy in enumerate(remedies):
        _row(now, sweep, remedy, f"{number}_{at}")


def _name(now: state.Session, score: RankingRow, axis: Axis) -> str:
    """A layer with its rank and what it costs."""
    mark = ":red[:material/flag:] " if score.flagged else ""
    return (
        f"{mark}**{score.rank}.** {text.code(text.short(score.name, 56))} · "
        f"{text.escape(now.model.layer(score.name).op)} · {text.escape(cost(score, axis))}"
    )


def cost(score: RankingRow, axis: Axis) -> str:
    """What a layer costs, in words."""
    shown = axis.shown(score.value)
    value = text.decibel(shown) if axis.unit == "dB" else f"{text.number(shown, 3)} {axis.unit}".strip()
    return f"{axis.words} {value}"


def _part(cause: Cause, told: float) -> str:
    """What a cause stands for; where causes before it stand for nearly all, it is a part of the same."""
    if told + cause.share > 1.0 + OVERLAP:
        return "another view of the same error"
    return f"about {100 * cause.share:.0f} % of its own error"


def _remedies(found: Sequence[Cause]) -> list[Remedy]:
    """Each once: those that keep 8 bits first, then what promises most."""
    known = {remedy.label: remedy for cause in found for remedy in cause.remedies}
    return sorted(known.values(), key=lambda remedy: (slower(remedy), -remedy.gain_db))


def _row(now: state.Session, sweep: Sweep, remedy: Remedy, key: str) -> None:
    used = remedy.applied(now.recipe) == now.recipe
    forecast = output_forecast(sweep.runs, remedy.layer, remedy.gain_db) if remedy.gain_db >= 0.0 else None
    button, predicted, measured = st.columns(COLUMNS, vertical_alignment="center")
    button.button(
        text.escape(remedy.label),
        key=f"sens_remedy_{key}",
        icon=":material/check:" if used else ":material/healing:",
        disabled=used,
        width="stretch",
        on_click=_use,
        args=(remedy, forecast),
        help="In use." if used else "Use it; one step to undo.",
    )
    predicted.markdown(_predicted(remedy, forecast))
    measured.markdown(_measured_gain(now, sweep, remedy))


def _predicted(remedy: Remedy, forecast: OutputForecast | None) -> str:
    """What a remedy should do, and what it costs, in words."""
    price = f"{remedy.price[:1].upper()}{remedy.price[1:]}"
    if remedy.gain_db < 0.0:  # gives up values of much energy; the model may do without
        return f"only measuring tells  \n:gray[:small[{text.escape(price)}]]"
    gain = "loses nothing" if math.isinf(remedy.gain_db) else f"{remedy.gain_db:+.1f} dB".replace("-", "−")
    said = f"alone {gain}"
    if forecast is not None:
        said = f"output **{text.change(forecast.after - forecast.before)}** · {said}"
    if remedy.fix is not None:
        price = "For this layer; others gain or lose too"
    return f"{said}  \n:gray[:small[{text.escape(price)}]]" if price else said


def _measured_gain(now: state.Session, sweep: Sweep, remedy: Remedy) -> str:
    """What measuring has shown, in words; of the shown recipe, or of the one that was ranked."""
    known = remedy_trials.trials_of(now)
    trial_keys = [remedy_trials.key(token, remedy) for token in (state.recipe_token(now.recipe), sweep.token)]
    if any(trial_key in known.waiting for trial_key in trial_keys):
        return ":gray[measuring…]"
    trial = next((known.trials[trial_key] for trial_key in trial_keys if trial_key in known.trials), None)
    if trial is not None:
        return _outcome(trial)
    refused = next((known.refused[trial_key] for trial_key in trial_keys if trial_key in known.refused), "")
    return f":red[{text.escape(refused)}]" if refused else ":gray[not yet]"


def _outcome(trial: RemedyTrial) -> str:
    """Gain in decibels, and in points where there are labels."""
    said = f"output {_coloured(trial.gain_db, 'dB')}"
    if trial.points is not None:
        said += f" · top-1 {_coloured(trial.points, 'points', plain=not trial.certain)}{_chance(trial)}"
    if trial.revived:
        said += f" · {_channels(trial)}"
    where = f"{trial.rows:,} unseen samples" if trial.unseen else f"the same {trial.rows:,} samples"
    ends = f"{text.decibel(trial.before.sqnr_db)} → {text.decibel(trial.after.sqnr_db)}"
    return f"{said}  \n:gray[:small[{text.escape(ends)} on {where}]]"


def _channels(trial: RemedyTrial) -> str:
    """How many channels of the outputs come back, or become constant."""
    count = text.plural(abs(trial.revived), "output channel")
    return f":green[{count} brought back]" if trial.revived > 0 else f":red[{count} made constant]"


def _chance(trial: RemedyTrial) -> str:
    """What to add to points that so few rows cannot tell from none."""
    known = trial.certain or trial.points is None or abs(trial.points) < MIXED
    return "" if known else " (may be chance)"


def _coloured(gain: float | None, unit: str, *, plain: bool = False) -> str:
    if gain is None or math.isnan(gain):
        return "–"
    colour = "gray" if plain or abs(gain) < MIXED else "green" if gain > 0 else "red"
    return f":{colour}[**{text.change(gain, unit)}**]"


def _want(remedies: Sequence[Remedy]) -> None:
    """Measure without using; a callback."""
    now = state.session()
    if now is not None:
        remedy_trials.request(now, remedies)


def _cancel() -> None:
    """A callback."""
    now = state.session()
    if now is not None:
        remedy_trials.cancel(now)


@uninterrupted
def _use(remedy: Remedy, forecast: OutputForecast | None) -> None:
    """Apply a remedy to the recipe, and measure what that does; a callback."""
    now = state.session()
    if now is None:
        return
    remedy_trials.request(now, [remedy])
    label = remedy.label if remedy.fix else f"{text.short(remedy.layer)}: {remedy.label}"
    state.edit(remedy.applied, label)
    opened = state.project()
    if opened is not None:
        where = "" if remedy.fix else f" for {text.short(remedy.layer, 40)}"
        applied = AppliedRemedy(
            project=now.project.id,
            words=f"{remedy.label}{where}",
            forecast=forecast,
            trial=remedy_trials.key(state.recipe_token(now.recipe), remedy),
            token=state.recipe_token(remedy.applied(now.recipe)),
        )
        keys.APPLIED.set(applied)


def _in_use(now: state.Session) -> AppliedRemedy | None:
    """The last remedy, as long as the recipe is the one with it."""
    last = keys.APPLIED.get()
    same = last is not None and (last.project, last.token) == (now.project.id, state.recipe_token(now.recipe))
    return last if same else None


def used(now: state.Session) -> None:
    """What the last remedy did, where there is no ranking: a model fix makes a model that has none yet."""
    if _in_use(now) is None:
        return
    remedy_trials.start_waiting(now)
    job = remedy_trials.job(now)
    if job is not None and job.active:
        common.poll("remedies", 0.4, _measuring, remedy_trials.trials_of(now).done)
    _applied(now)


def _applied(now: state.Session) -> None:
    """What the last remedy did."""
    last = _in_use(now)
    if last is None:
        st.info(  # keeps the place of what comes here when a remedy is used
            "A button puts its remedy into the recipe and measures what that does to the model's output; "
            "one undo takes it back. *Measure all* only measures.",
            icon=":material/healing:",
        )
        return
    known = remedy_trials.trials_of(now)
    trial, refused = known.trials.get(last.trial), known.refused.get(last.trial)
    if refused is not None:
        st.error(f"{text.escape(last.words)}: {text.escape(refused)}", icon=":material/error:")
        return
    if trial is None:
        waiting = "measuring…" if last.trial in known.waiting else "not measured"
        st.info(f"{text.escape(last.words)} is in use: {waiting}", icon=":material/healing:")
        return
    before, after = (text.decibel(part.sqnr_db) for part in (trial.before, trial.after))
    said = f"{text.escape(last.words)}: output SQNR measured **{before} → {after}**"
    if last.forecast is not None:
        said += f", predicted {text.change(last.forecast.after - last.forecast.before)}"
    if trial.points is not None:
        said += f"; top-1 **{text.change(trial.points, 'points')}**{_chance(trial)}"
    if trial.revived:
        said += f"; {_channels(trial)}"
    which = "used for nothing else" if trial.unseen else "that also set ranges or showed the fault"
    said += f". The exported model in ONNX Runtime on {text.plural(trial.rows, 'sample')} {which}. "
    worse = trial.revived < 0 or (trial.gain_db is not None and trial.gain_db < -MIXED)
    said += "It is worse: undo takes it back." if worse else "Undo takes it back."
    (st.warning if worse else st.success)(said, icon=":material/healing:")


def inspect_button(name: str, key: str) -> None:
    """The way to a layer's Inspector."""
    st.button("Inspect", key=key, icon=":material/tune:", on_click=inspect, args=(name,))


def inspect(name: str) -> None:
    """Show a layer in the Inspector; a callback."""
    state.choose_layer(name)
    keys.GO.set(Page.INSPECTOR)
