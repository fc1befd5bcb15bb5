"""`python -m` for those whose PATH lacks the `quantscope` command."""

from quantscope.ui.cli.command_line import main

main()
