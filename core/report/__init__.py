"""Reports of a study: a self-contained HTML file, or Markdown for a pull request."""
