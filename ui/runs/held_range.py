"""The clip line that is held in a drag: figures follow it before it is saved."""

from dataclasses import replace

from quantscope.core.errors import QuantScopeError
from quantscope.core.quant import Range
from quantscope.core.quantize import resolve
from quantscope.core.thresholds import Method
from quantscope.ui.runs.exported_encodings import known_exported_encodings
from quantscope.ui.session import keys
from quantscope.ui.session.keys import HeldRange
from quantscope.ui.session.state import Session


def hold(now: Session, name: str, range_: Range | None) -> None:
    """Let `following` use a range of layer `name` that is not saved; None: no longer."""
    if range_ is None:
        keys.HELD.pop()
    else:
        opened = now.project
        keys.HELD.set(HeldRange(identity=opened.identity, head=opened.head, layer=name, range=range_))


def following(now: Session) -> Session:
    """The session as it would be with the line that is held in a drag; itself without one."""
    held = keys.HELD.get()
    if held is None or (held.identity, held.head) != (now.project.identity, now.project.head):
        return now
    try:
        recipe = now.recipe.with_layer(held.layer, method=Method.MANUAL, range=held.range)
        encodings = resolve(recipe, now.workspace.statistics, now.model, previous=now.encodings)
    except (QuantScopeError, ValueError):
        return now  # said when it is saved
    return replace(now, recipe=recipe, encodings=encodings, known=known_exported_encodings(now), held=True)
