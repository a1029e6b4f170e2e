"""A study in words and pictures: conclusions, charts, one HTML file that needs nothing else, or Markdown."""
