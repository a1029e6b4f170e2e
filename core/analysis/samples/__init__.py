"""Samples and classes, analyzed by the nearest neighbors that a study stores."""
