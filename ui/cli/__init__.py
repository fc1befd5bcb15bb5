"""The command line: one folder a command, and beside the folders what commands share.

In a folder, `command` declares the options, `work` carries the command out and returns a record, and
`listing` turns the record into text; `--json` prints the record itself. A command imports its work when it is
called. A new command is a new folder and a line in `command_line.COMMANDS`. An option that several commands
share is a field of a record in `options`, and `spread` makes options of the fields.
"""
