"""The server around the pages: limits of the public mode, visitors, sessions and error messages."""
