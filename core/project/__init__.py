"""A project on disk: which model and data, and every recipe the user ever had."""

from quantscope.core.project import marks, others, project
from quantscope.core.project.description import Source
from quantscope.core.project.figures import Figures, Scope, figures_content, figures_file, read_figures
from quantscope.core.project.home import ProjectEntry
from quantscope.core.project.marks import Mark
from quantscope.core.project.others import OtherFile
from quantscope.core.project.project import Project, resolve_path, write_file
from quantscope.core.project.starting import go_on, left_at, start_over

__all__ = [
    "Figures",
    "Mark",
    "OtherFile",
    "Project",
    "ProjectEntry",
    "Scope",
    "Source",
    "figures_content",
    "figures_file",
    "go_on",
    "left_at",
    "marks",
    "others",
    "project",
    "read_figures",
    "resolve_path",
    "start_over",
    "write_file",
]
