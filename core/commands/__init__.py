"""The commands of `python -m core`, one a module: `add_parser` declares the options, `run` runs the command."""
