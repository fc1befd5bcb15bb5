"""A project on disk: which model and data, and every recipe the user ever had."""

from quantscope.core.project import project
from quantscope.core.project.description import Source
from quantscope.core.project.home import ProjectEntry
from quantscope.core.project.project import Project, resolve_path, write_file

__all__ = ["Project", "ProjectEntry", "Source", "project", "resolve_path", "write_file"]
