"""A sample in detail, on any page that shows samples: the dialog, its charts, and the marks of whoever looks."""
