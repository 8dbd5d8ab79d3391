"""`python -m graven`: the same as the command `graven`."""

from graven.cli import main

main()
