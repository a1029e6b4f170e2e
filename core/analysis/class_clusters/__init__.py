"""Clusters of classes that run into each other, and the evidence about what helps against it."""
