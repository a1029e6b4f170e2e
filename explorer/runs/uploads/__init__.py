"""Uploaded files: received, checked, stored and removed."""
