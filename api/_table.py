"""What every result offers: a table for pandas, a line for the console, and HTML for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 30  # that a notebook shows


class Table:
    """A result that is shown as a table; subclasses say what is in it."""

    __slots__ = ()

    def to_pandas(self) -> pd.DataFrame:
        """The result as a table, one row a thing; missing figures are NaN or None."""
        raise NotImplementedError

    def _headline(self) -> str:
        """The result in one line of plain text."""
        raise NotImplementedError

    def _remarks(self) -> Sequence[str]:
        """Sentences that belong below the table."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._headline()}>"

    def _repr_html_(self) -> str:
        """For notebooks; names from models are escaped."""
        table = self.to_pandas()
        shown = table.head(MOST_ROWS).to_html(escape=True, index=False, border=0, na_rep="")
        more = len(table) - MOST_ROWS
        parts = [f"<p><b>{html.escape(type(self).__name__)}</b>: {html.escape(self._headline())}</p>", shown]
        parts += [f"<p>… and {more:,} more; to_pandas() has all</p>"] if more > 0 else []
        parts += [f"<p>⚠ {html.escape(said)}</p>" for said in self._remarks()]
        return "\n".join(parts)


def bytes_text(count: int) -> str:
    """A size as people write it."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def frame(rows: Sequence[dict[str, object]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a table that has these columns even where there is no row."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))
