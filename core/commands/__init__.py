"""The commands of `python -m core`, one a module: `add_parser(commands)` says how each is asked for, and runs it."""
