"""The user's choices, as data and as a file; nothing is computed here."""
