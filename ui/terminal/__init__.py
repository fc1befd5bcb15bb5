"""Text on a terminal: tables no wider than it is, strict JSON, progress and errors."""
