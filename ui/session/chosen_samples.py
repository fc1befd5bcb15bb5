"""Data of a project of which some samples are left out, or to which others were added."""

from collections.abc import Mapping
from typing import Any

from quantscope.core.data import Samples, joined_samples, open_samples
from quantscope.core.errors import ProjectError
from quantscope.core.model import Model
from quantscope.core.project import Project

# Options of a source of data: places of samples that are not used; files of the project with more of them.
WITHOUT, ADDED = "without", "added"


def chosen_samples(project: Project, samples: Samples, options: Mapping[str, Any], model: Model) -> Samples:
    """The samples that a source's options ask for.

    Raises:
        ProjectError: A file with added samples is gone.
        DataError: It does not fit the model.
    """
    without = set(options.get(WITHOUT) or ())
    if without:
        samples = samples.select([place for place in range(len(samples)) if place not in without])
    for name in options.get(ADDED) or ():
        path = (project.folder / str(name)).resolve()
        if not path.is_relative_to(project.folder.resolve()) or not path.is_file():
            raise ProjectError(f"{path}, which holds added samples, is no longer there; open the model again")
        samples = joined_samples(samples, open_samples(path, model, labels_needed=False))
    return samples
