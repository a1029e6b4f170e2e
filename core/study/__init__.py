"""A study: its options and plan, the run, and the tables on disk, of images or of ready-made features."""
