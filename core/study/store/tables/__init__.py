"""What the tables of a study hold: columns, checks, ties, names of classes."""
