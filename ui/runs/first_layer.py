"""Which layer the Inspector shows: the one in its address, else the one that costs the output most."""

from quantscope.core.model import Layer
from quantscope.core.quantize import Encodings
from quantscope.ui.runs import measured, worst
from quantscope.ui.session import keys, state

PATIENCE = 0.5  # seconds for which the first opening waits for figures
LOOKED_AT = 50  # layers of the ranking among which one with a range is looked for


def shown(now: state.Session) -> Layer:
    """The layer that is shown: it is chosen where none is yet, and the address names it.

    A layer that the address names anew, by a link or the browser's way back, is shown.
    """
    names = now.model.layer_names
    named, written, chosen = keys.LAYER_IN_ADDRESS.get(), keys.LAYER_WRITTEN.get(), keys.LAYER.get()
    if named in names and named not in (written, chosen):
        chosen = named or ""
        keys.LAYER.set(chosen)
    elif chosen not in names:
        chosen = _first(now)
        keys.LAYER.set(chosen)
    if named != chosen:
        keys.LAYER_IN_ADDRESS.set(chosen)
    if written != chosen:
        keys.LAYER_WRITTEN.set(chosen)
    return now.model.layer(chosen)


def _first(now: state.Session) -> str:
    """The worst layer whose range can be moved; before anything is measured, the worst by its own values."""
    encodings = now.encodings
    if measured.effect(now, patience=PATIENCE).value is not None:
        for found in worst.worst(now, LOOKED_AT):
            if has_range(now, encodings, found.layer):
                return found.layer
    layers = [layer.name for layer in now.model.layers if has_range(now, encodings, layer.name)]
    computed = [name for name in layers if now.model.layer(name).kind == "compute"]
    everything = [layer.name for layer in now.model.layers]
    return next(iter((*computed, *layers, *everything)))


def has_range(now: state.Session, encodings: Encodings, name: str) -> bool:
    """Whether a layer's output has a range that can be moved, of its own."""
    output = now.model.layer(name).output
    return output in encodings.activations and output not in encodings.placement.sources
