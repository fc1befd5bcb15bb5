"""Errors a user can act on; the message says what is wrong and what to do.

QuantScopeError
├── ModelError    the model cannot be read, or is of a kind that cannot be quantized
│   └── AlreadyQuantized  it holds integers already, and can only be looked at
├── DataError     calibration or evaluation data do not fit the model, or are unusable
├── RecipeError   a recipe names something that does not exist, or asks for what a target lacks
├── ExportError   the quantized model cannot be written as asked
└── ProjectError  a project cannot be read or written; what is left of it stays on disk
    ├── ProjectRemoved   it was removed meanwhile, so nothing was written
    └── ProjectChanged   another window or process went on with it, so nothing was written
"""


class QuantScopeError(Exception):
    """Base of every error that is meant for the user rather than for a developer."""


class ModelError(QuantScopeError):
    """The model cannot be read, or cannot be quantized."""


class AlreadyQuantized(ModelError):
    """The model is quantized already: it can be looked at, and not quantized again."""


class DataError(QuantScopeError):
    """Calibration or evaluation data do not fit the model, or are unusable."""


class RecipeError(QuantScopeError):
    """A recipe is malformed, or does not fit the model or the target."""


class ExportError(QuantScopeError):
    """The quantized model cannot be written as asked."""


class ProjectError(QuantScopeError):
    """A project cannot be read or written; what is left of it stays on disk."""


class ProjectRemoved(ProjectError):
    """The project was removed by another window or process; nothing was written."""


class ProjectChanged(ProjectError):
    """Another window or process shows another step of the project by now; nothing was written."""
