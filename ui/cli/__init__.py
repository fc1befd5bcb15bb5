"""The command line: one file a command, the options they share, and what they print."""
