"""A project on disk: which model and data, and every recipe the user ever had."""

from quantscope.core.project import project
from quantscope.core.project.description import Source
from quantscope.core.project.home import ProjectEntry
from quantscope.core.project.project import Project, resolve_path, write_file
from quantscope.core.project.starting import go_on, left_at, start_over

__all__ = [
    "Project",
    "ProjectEntry",
    "Source",
    "go_on",
    "left_at",
    "project",
    "resolve_path",
    "start_over",
    "write_file",
]
