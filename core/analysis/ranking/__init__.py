"""Ranking: which of several networks separates the same samples best."""
