"""Commands about networks, without a study: their layers, and the files of their weights."""
