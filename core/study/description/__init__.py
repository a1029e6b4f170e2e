"""What a person calls a study: its name, note and tags."""
