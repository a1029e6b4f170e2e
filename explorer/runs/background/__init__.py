"""Processes that plan and compute studies in the background: their folders, their queue, and what they run."""
