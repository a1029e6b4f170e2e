"""Where a network can be cut, which blocks it can do without, and what that saves."""
