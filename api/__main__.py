"""`python -m quantscope`: the command line, for where the `quantscope` command is not on the path."""

from quantscope.ui.cli.command_line import main

if __name__ == "__main__":
    main()
