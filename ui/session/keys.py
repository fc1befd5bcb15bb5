"""All that the app keeps in a browser session: names, types and meanings, declared once.

A `Key` is the only way to Streamlit's session state, so that a misspelt name cannot be written. What is named
here and read by tests or the browser keeps its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

from quantscope.core.project import Project
from quantscope.core.quant import Range
from quantscope.core.recipe import Recipe
from quantscope.core.sensitivity import SAMPLES, Kind, Metric
from quantscope.core.targets import Precision
from quantscope.core.tuning import OutputForecast
from quantscope.core.tuning.mixed import Cost
from quantscope.ui.content.lesson import Settings
from quantscope.ui.content.sample_list import Filter, Order
from quantscope.ui.content.tensor_view import Mark
from quantscope.ui.session.memory import Key, Parameter

if TYPE_CHECKING:
    from streamlit.elements.arrow import DataframeState
    from streamlit.elements.plotly_chart import PlotlyState
    from streamlit.navigation.page import StreamlitPage
    from streamlit.runtime.uploaded_file_manager import UploadedFile

# --- types of what is kept ---


class Page(StrEnum):
    """The pages, by the last part of their addresses."""

    OPEN = "open"
    OVERVIEW = "overview"
    LAYERS = "layers"
    INSPECTOR = "inspector"
    SENSITIVITY = "sensitivity"
    HISTORY = "history"
    COMPARE = "compare"
    PLAYGROUND = "playground"
    PRESENT = "present"
    EXPORT = "export"


class News(NamedTuple):
    """What another window did to the open project."""

    words: str
    until: float  # when it is no longer said, by the monotonic clock


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRange:
    """A clip line that stands still in a drag, which is not saved."""

    identity: str  # of the project
    head: int  # step of its recipe
    layer: str
    range: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRecipe:
    """The recipe of the shown step."""

    step: tuple[str, str, int]  # project's id, its identity, number of the step
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRecipe:
    """A recipe without its choices for layers that a model lacks."""

    given: Recipe
    model: str  # its hash
    fitted: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultSessionBefore:
    """What a default session gave before the file was made safe on any x86."""

    project: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRemedy:
    """The remedy that was used last, to be compared with what is measured."""

    project: str
    words: str
    forecast: OutputForecast | None
    trial: tuple[str, str, str]  # under which it is measured
    token: str  # of the recipe with it


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingChoices:
    """What was chosen for a ranking; Streamlit forgets widgets while another page is shown."""

    kind: Kind
    metric: Metric
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedChoices:
    """What was chosen for mixed precision."""

    cost: Cost
    allowed: list[Precision]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedVersions:
    """What is compared, by the keys of versions."""

    project: str
    against: str
    others: tuple[str, ...]


class MarkedRanges(NamedTuple):
    """Ranges of other tools that are drawn on the chart."""

    tensor: str  # name of the values
    marks: tuple[Mark, ...]


class FollowingWidget(NamedTuple):
    """A widget that shows what the program says; see `views.common.follow`."""

    key: str  # its present key
    first: object  # what it showed first


class Refusal(NamedTuple):
    """Why something could not be opened."""

    place: str  # where it was asked for: "form", "samples", "recent", or nothing
    words: str


class Saved(NamedTuple):
    """What became of the last attempt to save the exported file."""

    words: str
    error: str
    sha256: str  # of the file


class ChartEvents(Protocol):
    """What the threshold chart told; each is there only while its callback runs."""

    @property
    def edit(self) -> Mapping[str, float] | None: ...

    @property
    def hold(self) -> Mapping[str, float] | None: ...

    @property
    def use(self) -> Mapping[str, str] | None: ...


class GraphEvents(Protocol):
    """What the graph of layers told."""

    @property
    def open(self) -> Mapping[str, str] | None: ...


class StepEvents(Protocol):
    """What the list of steps told; each is there only while its callback runs."""

    @property
    def choose(self) -> Mapping[str, int] | None: ...

    @property
    def tick(self) -> Mapping[str, list[int]] | None: ...


class RowClick(Protocol):
    """A click on a button in a table."""

    @property
    def row(self) -> int: ...


class TableEdits(TypedDict):
    """What was changed in an editable table: cells by row and column."""

    edited_rows: dict[int, dict[str, str]]


# --- which project, and what is said of it ---

PROJECT_IN_ADDRESS = Parameter("project")  # its id: a reload opens it again
LAYER_IN_ADDRESS = Parameter("layer")  # the layer that a link shows in the Inspector
SESSION: Key[str | None] = Key("session_id", None)  # what tells this session from others
PROJECT: Key[Project | None] = Key("open_project", None)
RECIPE: Key[ShownRecipe | None] = Key("recipe", None)
FITTED: Key[FittedRecipe | None] = Key("fitted_recipe", None)  # the last one that had to be fitted
LAYER: Key[str] = Key("shown_layer", "")  # in the Inspector
LAYER_WRITTEN: Key[str] = Key("layer_in_address", "")  # what the address was last told
HELD: Key[HeldRange | None] = Key("held_range", None)
NOTICE = Key("notice", "")  # what the last action could not do; said once
NEWS = Key("news", News("", 0.0))
EDITOR_REVISION = Key("editor_rev", 0)  # counts changes by program of what editable tables show

# --- the router ---

GREETED = Key("greeted", False)  # what the command line named was opened
PAGES: Key[Mapping[Page, StreamlitPage]] = Key("pages", {})
GO: Key[Page | None] = Key("go", None)  # where the next run goes
WINDOW: Key[Mapping[str, bool] | None] = Key("refresh", None)  # what the browser said of its window

# --- Open ---

ENTER = Key("enter", False)  # go to the Overview as soon as the project is ready
REMOVAL: Key[str | None] = Key("removal", None)  # project whose removal is to be confirmed
ALL_RECENT = Key("all_recent", False)
MODEL_PATH = Key("model_path", "")
MODEL_FILE: Key[UploadedFile | None] = Key("model_file", None)
DATA_PATH = Key("data_path", "")
DATA_FILE: Key[UploadedFile | None] = Key("data_file", None)
EVALUATION_PATH = Key("evaluation_path", "")
EVALUATION_FILE: Key[UploadedFile | None] = Key("evaluation_file", None)
LATER_PATH = Key("later_path", "")  # of evaluation data that are given to an open project
LATER_FILE: Key[UploadedFile | None] = Key("later_file", None)
OPEN_BEFORE: Key[str | None] = Key("open_before", None)  # id of the project that the asked one replaced
ASKED_AT = Key("asked_at", "")  # place of the page at which the open project was asked for
REFUSED = Key("refused", Refusal("", ""))  # said there until the next attempt
EVALUATION_ASKED = Key("evaluation_asked", False)  # the dialog about evaluation data is open
EVALUATION_REFUSED = Key("evaluation_refused", "")  # said in the dialog about evaluation data
LOCATE_PATH = Key("locate_path", "")  # of a model that was moved
LOCATE_FILE: Key[UploadedFile | None] = Key("locate_file", None)
LOCATE_DATA = Key("locate_data_path", "")  # of calibration data that were moved
LOCATE_REFUSED = Key("locate_refused", "")
LOOKED_AT: Key[str | None] = Key("looked_at", None)  # quantizer of an already quantized model

# --- Overview ---

IMPROVE_TAB = Key("improve", "")
IMPROVE_TAB_KEPT = Key("improve_kept", "")  # outlives a visit to another page
OVERVIEW_ERRORS: Key[PlotlyState | None] = Key("overview_errors", None)
GRAPH: Key[GraphEvents | None] = Key("graph", None)
SAFE_BEFORE: Key[DefaultSessionBefore | None] = Key("default_session_before", None)

# --- Layers ---

FILTER_NAME = Key("filter_name", "")
FILTER_OP: Key[list[str]] = Key("filter_op", [])
FILTER_FLAG = Key("filter_flag", "")
LAYER_ORDER = Key("layer_order", "")
BULK_METHOD: Key[str | None] = Key("bulk_method", None)  # for the rows that are shown; None = as it is
BULK_PRECISION: Key[str | None] = Key("bulk_precision", None)
BULK_WEIGHTS: Key[str | None] = Key("bulk_weights", None)
BULK_SCALES: Key[str | None] = Key("bulk_scales", None)
INSPECT_ROW: Key[RowClick | None] = Key("inspect_row", None)

# --- Inspector ---

CHART: Key[ChartEvents | None] = Key("threshold", None)
CHART_EDIT = Key("drag_seq", 0)  # number of the newest of the chart's edits that is applied
DETAILS = Key("part", "")  # what is shown below the chart
MARKED = Key("tools_marked", MarkedRanges("", ()))

# --- Sensitivity ---

RANKING_KIND = Key("sens_kind", Kind.ENABLE)
RANKING_METRIC: Key[Metric | None] = Key("sens_metric", None)
RANKING_COUNT = Key("sens_count", SAMPLES)
RANKING_CHOICES: Key[RankingChoices | None] = Key("sens_kept", None)
APPLIED: Key[AppliedRemedy | None] = Key("sens_applied", None)
MIXED_COST = Key("mixed_cost", Cost.SIZE)
MIXED_ALLOWED: Key[list[Precision]] = Key("mixed_allowed", [])
MIXED_CHOICES: Key[MixedChoices | None] = Key("mixed_kept", None)
MIXED_DROP = Key("mixed_drop", 0.5)  # of top-1 that may be lost, in points
MIXED_DROP_KEPT = Key("mixed_drop_kept", 0.5)  # outlives a visit to another page
MIXED_POINT: Key[int | None] = Key("mixed_point", None)  # of the front, then of what it beats
MIXED_CHART: Key[PlotlyState | None] = Key("mixed_chart", None)
MIXED_WARNING = Key("mixed_said", "")  # why no point was found; said once

# --- History ---

HISTORY_LIST: Key[StepEvents | None] = Key("history_list", None)
HISTORY_SCOPE = Key("history_scope", "")  # over which samples figures are shown
HISTORY_HIDDEN = Key("history_hidden", False)  # steps out of sight are listed too

# --- Compare ---

COMPARED: Key[ComparedVersions | None] = Key("compared", None)
COMPARE_LAYERS: Key[PlotlyState | None] = Key("compare_layers", None)
COMPARE_PAIR: Key[str | None] = Key("compare_pair", None)  # version of the table of tensors
COMPARE_DIFFERS = Key("compare_differs", False)  # only tensors that differ
COMPARE_NAME = Key("compare_name", "")  # part of a layer's name
COMPARE_INSPECT: Key[RowClick | None] = Key("compare_inspect", None)
COMPARE_FILE: Key[UploadedFile | None] = Key("compare_file", None)
COMPARE_LOADED = Key("compare_loaded", "")  # id of the file that was taken last
COMPARE_PATH = Key("compare_path", "")
COMPARE_REFUSED = Key("compare_refused", "")  # why the last file was not taken

# --- Compare: sample by sample ---

SAMPLES_OF = Key("samples_of", "")  # project that the choices below are of
SAMPLES_SHOWN = Key("samples_shown", "")  # key of the version that is judged
SAMPLES_BEFORE = Key("samples_before", "")  # key of the one that it is held against
SAMPLES_PART = Key("samples_part", "")
SAMPLES_FILTER = Key("samples_filter", Filter.ALL)
SAMPLES_ORDER = Key("samples_order", Order.DATA)
SAMPLES_CLASS = Key("samples_class", -1)  # -1 = any
SAMPLES_ANSWER = Key("samples_answer", -1)  # class that the version gives; -1 = any
SAMPLES_MATRIX: Key[PlotlyState | None] = Key("samples_matrix", None)
SAMPLES_OUTPUT = Key("samples_output", "")
SAMPLES_PAGE = Key("samples_page", 0)

# --- Export ---

RECIPE_FILE: Key[UploadedFile | None] = Key("recipe_file", None)
SAVE_PATH = Key("save_path", "")
SAVE_REPLACE = Key("save_replace", False)
SAVED = Key("saved", Saved("", "", ""))
RECIPE_LOADED = Key("recipe_loaded", "")  # id of the file that was loaded last

# --- Playground ---

PLAYGROUND: Key[Settings | None] = Key("playground", None)
PLAY_CHART: Key[ChartEvents | None] = Key("play_threshold", None)
PLAY_CHART_EDIT = Key("play_seq", 0)
PLAY_PRESET: Key[str | None] = Key("play_preset", None)
PLAY_DISTRIBUTION = Key("play_distribution", "")
PLAY_SIZE = Key("play_size", 0)
PLAY_SEED = Key("play_seed", 0)
PLAY_BITS = Key("play_bits", 0)
PLAY_SIGN = Key("play_sign", "")
PLAY_SYMMETRY = Key("play_symmetry", "")
PLAY_METHOD = Key("play_method", "")
PLAY_TOOLS = Key("play_tools", False)


# --- names that are made while the app runs ---


def following(widget: str) -> Key[FollowingWidget | None]:
    """What is known of a widget that follows the program."""
    return Key(f"following {widget}", None)


def value_of(widget: str) -> Key[object]:
    """What a widget that follows the program shows, by its present key."""
    return Key(widget, None)


def history_step(identity: str) -> Key[int]:
    """The step of a project that was chosen; 0 = the shown one."""
    return Key(f"history_step_{identity}", 0)


def history_ticked(identity: str) -> Key[tuple[int, ...]]:
    """Steps of a project that are ticked."""
    return Key(f"history_ticked_{identity}", ())


def history_deleted(identity: str) -> Key[tuple[int, ...]]:
    """Steps of a project that were deleted last."""
    return Key(f"history_deleted_{identity}", ())


def history_chart(figure: str) -> Key[PlotlyState | None]:
    """The chart of one figure of all steps."""
    return Key(f"history_chart_{figure}", None)


def step_name(identity: str, number: int) -> Key[str]:
    """The name of a step, as it is typed."""
    return Key(f"step_name_{identity}_{number}", "")


def step_note(identity: str, number: int) -> Key[str]:
    """The note on a step, as it is typed."""
    return Key(f"step_note_{identity}_{number}", "")


def layers_table(revision: int) -> Key[TableEdits | None]:
    """The table of layers: a new one after each change, without edits of its own."""
    return Key(f"layers_{revision}", None)


def target_box(target: str) -> Key[str]:
    """The choice of a target: a new one after an undo."""
    return Key(f"target_{target}", target)


def drawn_as(what: str) -> Key[object]:
    """How an input or output is drawn: its widget."""
    return Key(f"drawn_{what}", None)


def names_loaded(which: str) -> Key[str]:
    """The id of the file of names that was taken last, of classes or tokens."""
    return Key(f"names_loaded_{which}", "")


def ranking_chart(kind: Kind, metric: Metric, rows: int) -> Key[PlotlyState | None]:
    """The chart of a ranking."""
    return Key(f"sens_figure_{kind}_{metric}_{rows}", None)


def tools_table(place: str, token: str) -> Key[DataframeState | None]:
    """The table of thresholds on a page."""
    return Key(f"{place}_table_{token}", None)


def play_parameter(distribution: str, parameter: str) -> Key[float]:
    """A parameter of the distribution that values are drawn from."""
    return Key(f"play_{distribution}_{parameter}", 0.0)
