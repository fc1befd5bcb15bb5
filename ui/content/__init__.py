"""What pages and commands show, as plain data."""
