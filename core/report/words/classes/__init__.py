"""Sentences about classes that run into each other."""
