"""The command line: the commands in `commands`, and here what they share.

In a folder there, `command` declares the options, `work` does it and returns a record, and `listing`
turns the record into text; `--json` prints the record itself. A command imports its work when it is called. A
new command is a new folder and a line in `command_line.COMMANDS`. An option that several commands share is a
field of a record in `options`, and `spread` makes options of the fields.
"""
