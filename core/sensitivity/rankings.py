"""From sensitivity runs to a ranking: figures with error bars from a bootstrap, and what stands out."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from quantscope.core.sensitivity.runs import Kind, Run, Subject

Floats = npt.NDArray[np.float64]

RESAMPLES = 200
LEVEL = 0.9  # share of the resamples that an interval covers
_SMALL_IQR = 0.05  # of the median; where all are alike, a small difference is none
_LEAST_WON = 0.1  # dB; where hardly anything can be won back, a small difference is none


class Metric(StrEnum):
    """What a ranking goes by."""

    SQNR = "sqnr_db"  # of all float outputs as one vector
    COSINE = "cosine"
    KL = "kl"  # of the class scores, mean over the rows, in nats
    AGREEMENT = "agreement"  # share of rows in which float and quantized put the same class first
    TOP1 = "top1"  # share of rows in which the first class is the label


LARGER_IS_BETTER = frozenset({Metric.SQNR, Metric.COSINE, Metric.AGREEMENT, Metric.TOP1})
# Columns of the sums that all metrics are made of.
_FF, _QQ, _FQ, _DD, _KL, _ROWS, _AGREEING, _RIGHT = range(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingRow:
    """One row of a ranking."""

    name: str
    value: float  # of the metric; for disable-one what is won back against the fully quantized model
    low: float  # bootstrap interval of the value
    high: float
    rank: int  # 1 = matters most
    rank_low: int  # bootstrap interval of the rank
    rank_high: int
    flagged: bool  # stands out: beyond median + 3 IQR of the loss
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEstimate:
    """One value with its bootstrap interval."""

    value: float
    low: float
    high: float
    samples: int


def metrics_of(runs: Iterable[Run]) -> tuple[Metric, ...]:
    """The metrics that the runs allow."""
    known = tuple(runs)
    found = []
    if any(run.error is not None and not run.error.non_finite for run in known):
        found += [Metric.SQNR, Metric.COSINE]
    if known and all(run.kl is not None for run in known):
        found.append(Metric.KL)
    if known and all(run.rows for run in known):
        found.append(Metric.AGREEMENT)
        if all(run.right is not None for run in known):
            found.append(Metric.TOP1)
    return tuple(found)


def ranking(
    runs: Iterable[Run],
    kind: Kind = Kind.ENABLE,
    metric: Metric = Metric.SQNR,
    *,
    seed: int = 0,
) -> tuple[RankingRow, ...]:
    """What matters most first.

    Enable-one and op types: those whose quantization alone costs most. Disable-one: those that win most
    back. Only samples that every subject has been run on count (all of them, while there is none yet), so
    that the comparison is fair. The intervals are percentiles over `RESAMPLES` draws of the samples
    with replacement, the same draws for every subject.
    """
    table = _table(runs, kind)
    if table is None:
        return ()
    names, sums, full = table
    draws = _draws(sums.shape[1], seed)
    values, loss = _values_and_losses(sums, full, None, metric, kind)
    drawn, drawn_loss = _values_and_losses(sums, full, draws, metric, kind)
    ranks = _ranks(drawn_loss)
    low, high = _interval(drawn)
    rank_low, rank_high = _interval(ranks)
    won_db = kind is Kind.DISABLE and metric is Metric.SQNR
    flagged = stands_out(loss[0], _LEAST_WON if won_db else 0.0)
    order = np.argsort(-np.nan_to_num(loss[0], nan=-np.inf), kind="stable")
    return tuple(
        RankingRow(
            name=names[i],
            value=float(values[0, i]),
            low=float(low[i]),
            high=float(high[i]),
            rank=place + 1,
            rank_low=int(rank_low[i]),
            rank_high=int(rank_high[i]),
            flagged=bool(flagged[i]),
            samples=sums.shape[1],
        )
        for place, i in enumerate(order)
    )


def metric_estimate(
    runs: Iterable[Run], subject: Subject, metric: Metric, *, seed: int = 0
) -> MetricEstimate | None:
    """The metric of one subject's runs as it is, e.g. of the whole model; None if there are none."""
    own = sorted((run for run in runs if run.subject == subject), key=lambda run: run.key)
    if not own:
        return None
    sums = np.array([[_row(run) for run in own]])
    value = _metric(sums.sum(axis=1), metric)[0]
    draws = _draws(len(own), seed)
    low, high = _interval(_metric(np.einsum("rs,nsk->rnk", draws, sums), metric))
    return MetricEstimate(value=float(value), low=float(low[0]), high=float(high[0]), samples=len(own))


def _table(runs: Iterable[Run], kind: Kind) -> tuple[list[str], Floats, Floats | None] | None:
    """Names, sums (subjects, samples, 8), and for disable-one those of the whole model (samples, 8)."""
    found: dict[str, dict[int, Run]] = {}
    whole: dict[int, Run] = {}
    for run in runs:
        if run.subject.kind is kind:
            found.setdefault(run.subject.name, {})[run.sample] = run
        if run.subject.kind is Kind.ALL:
            whole[run.sample] = run
    if not found or (kind is Kind.DISABLE and not whole):
        return None
    parts = [set(by_sample) for by_sample in found.values()]
    common = set.intersection(*parts, *([set(whole)] if kind is Kind.DISABLE else []))
    if not common:  # in the midst of the first sample
        first = min(set.union(*parts))
        found = {name: by_sample for name, by_sample in found.items() if first in by_sample}
        common = {first}
    found = dict(sorted(found.items()))
    # By content, so that sums and draws do not depend on the order of the samples.
    at = sorted(common, key=lambda i: next(iter(found.values()))[i].key)
    sums = np.array([[_row(by_sample[i]) for i in at] for by_sample in found.values()])
    full = np.array([_row(whole[i]) for i in at]) if kind is Kind.DISABLE else None
    return list(found), sums, full


def _row(run: Run) -> list[float]:
    e = run.error
    bad = e is None or e.non_finite > 0
    ff, qq, fq, dd = (math.nan,) * 4 if e is None or bad else (e.ff, e.qq, e.fq, e.dd)
    right = math.nan if run.right is None else float(run.right)
    return [ff, qq, fq, dd, math.nan if run.kl is None else run.kl, run.rows, run.agreeing, right]


def _values_and_losses(
    sums: Floats, full: Floats | None, draws: Floats | None, metric: Metric, kind: Kind
) -> tuple[Floats, Floats]:
    """Values and losses (draws, subjects); without draws, of the samples as they are.

    Outputs that are not finite, or of another shape, have no value; no loss is greater.
    """
    weights = np.ones((1, sums.shape[1])) if draws is None else draws
    values = _metric(np.einsum("rs,nsk->rnk", weights, sums), metric)
    better = 1.0 if metric in LARGER_IS_BETTER else -1.0
    if kind is not Kind.DISABLE:
        return values, np.where(np.isnan(values), np.inf, -better * values)
    assert full is not None
    base = _metric(np.einsum("rs,sk->rk", weights, full)[:, None], metric)
    with np.errstate(invalid="ignore"):
        won = better * (values - base)
    # What wins most back matters most; more than all the others does what alone gives a value at all.
    loss = np.where(np.isnan(base), np.inf, won)
    return won, np.where(np.isnan(values), -np.inf, loss)


def _metric(sums: Floats, metric: Metric) -> Floats:
    """From sums (..., 8) to values (...)."""
    column = [sums[..., k] for k in range(sums.shape[-1])]
    with np.errstate(divide="ignore", invalid="ignore"):
        match metric:
            case Metric.SQNR:
                ratio = 10.0 * np.log10(column[_FF] / column[_DD])
                return np.asarray(np.where(column[_DD] == 0.0, np.inf, ratio), np.float64)
            case Metric.COSINE:
                product = np.sqrt(column[_FF]) * np.sqrt(column[_QQ])
                one_zero = (column[_FF] == 0.0) == (column[_QQ] == 0.0)
                cosine = np.where(product > 0.0, column[_FQ] / product, one_zero.astype(np.float64))
                return np.asarray(np.clip(cosine, -1.0, 1.0), np.float64)
            case Metric.KL:
                return np.asarray(column[_KL] / column[_ROWS], np.float64)
            case Metric.AGREEMENT:
                return np.asarray(column[_AGREEING] / column[_ROWS], np.float64)
            case Metric.TOP1:
                return np.asarray(column[_RIGHT] / column[_ROWS], np.float64)


def _draws(samples: int, seed: int) -> Floats:
    """How often each sample was drawn, (RESAMPLES, samples)."""
    generator = np.random.default_rng(seed)
    share = np.full(samples, 1.0 / samples)
    return generator.multinomial(samples, share, size=RESAMPLES).astype(np.float64)


def _interval(drawn: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends over the draws (axis 0); infinite values are ordered, not averaged."""
    ordered = np.sort(drawn, axis=0)
    last = drawn.shape[0] - 1
    low = ordered[math.floor(last * (1.0 - LEVEL) / 2.0)]
    high = ordered[math.ceil(last * (1.0 + LEVEL) / 2.0)]
    return low, high


def _ranks(loss: Floats) -> Floats:
    """Ranks along axis 1, 1 = largest loss; equals in alphabetical order."""
    order = np.argsort(-np.nan_to_num(loss, nan=-np.inf), axis=1, kind="stable")
    ranks = np.empty_like(loss)
    np.put_along_axis(ranks, order, np.arange(1.0, loss.shape[1] + 1.0)[None], axis=1)
    return ranks


def stands_out(loss: Floats | Sequence[float], least_iqr: float = 0.0) -> npt.NDArray[np.bool_]:
    """Which losses lie beyond median + 3 IQR of all (relative, since absolute limits fit no two models).

    The IQR is that of the better half doubled where that is less: where a quarter of the layers is bad,
    they would hide each other.

    Args:
        loss: Larger is worse; infinite values are judged, but do not count for the limit.
        least_iqr: What the IQR is at least taken to be; 5 % of the median in any case.
    """
    values = np.asarray(loss, np.float64)
    known = values[np.isfinite(values)]
    if known.size < 4:
        return np.zeros(values.shape, np.bool_)
    low, middle, high = np.percentile(known, [25, 50, 75])
    spread = max(min(high - low, 2.0 * (middle - low)), _SMALL_IQR * abs(middle), least_iqr)
    return np.asarray(values > middle + 3.0 * spread, np.bool_)
