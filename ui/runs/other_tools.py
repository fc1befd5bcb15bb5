"""Other tools' thresholds of a project's tensors, computed in the background and kept for the session."""

from dataclasses import dataclass

from quantscope.core.calibration import raw_values
from quantscope.core.progress import Progress, ProgressFn
from quantscope.core.thresholds.reference import ReferenceRow
from quantscope.ui.content.disagreement import compute_references
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId
from quantscope.ui.session.state import Session

LABEL = "computing the tools' thresholds"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """What the other tools choose, and what they were given."""

    rows: tuple[ReferenceRow, ...]
    values: int
    samples: int
    of: int
    every: int  # n: every n-th value of a sample


def tool_job(now: Session, tensor: str) -> Job[ToolRun] | None:
    """The job for a tensor, if it was started."""
    return cached.registry().get(_id(now, tensor))


def start_tools(now: Session, tensor: str) -> None:
    """Run the float model for the tensor's values, and every reference on them."""
    space, id = now.workspace, _id(now, tensor)
    samples = space.samples
    histogram = space.statistics.histograms.get(tensor)
    if samples is None or histogram is None:
        return

    def work(tell: ProgressFn) -> ToolRun:
        raw = raw_values(space.model, samples, tensor, histogram, progress=tell)
        rows = compute_references(
            raw.values,
            lambda done, total, _key: tell(Progress(done=done, total=total, label=LABEL)),
        )
        return ToolRun(rows=rows, values=raw.values.size, samples=raw.samples, of=raw.of, every=raw.every)

    cached.registry().restart(id, "Thresholds of other tools", work)


def _id(now: Session, tensor: str) -> JobId[ToolRun]:
    return JobId(f"{now.project.id}:tools:{tensor}")
