"""What stored neighbors say about samples and classes."""
