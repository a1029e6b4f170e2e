"""A study as a document to hand on: one HTML file that needs nothing else, or Markdown for a pull request."""
