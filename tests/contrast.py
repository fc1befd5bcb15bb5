"""Contrast of every text on a page, as a browser shows it, by the formula of WCAG 2.2.

https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio. Texts need 4.5 : 1, large ones (24 px, or 18.66 px and bold)
and icons 3 : 1; what is disabled is free.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_FIND = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def texts(page: Any) -> list[dict[str, Any]]:
    """Every visible text of a page with its contrast, and the one that it needs."""
    found: list[dict[str, Any]] = page.evaluate(_FIND)
    return found


def too_faint(page: Any) -> list[str]:
    """Those that are too faint, each once, as sentences; tables that are drawn as pictures are not read."""
    poor = {
        f"'{t['text'][:60]}' {t['ratio']:.2f} of {t['wanted']}, {t['size']} px, {t['ink']} on {t['behind']}, "
        f"{t['place']}"
        for t in texts(page)
        if t["ratio"] < t["wanted"] - 0.005
    }
    return sorted(poor)
