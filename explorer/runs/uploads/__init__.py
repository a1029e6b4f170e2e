"""Files from visitors: received, checked, kept and removed."""
