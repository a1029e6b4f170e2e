"""Parts that several pages show: the head of a page, choices, cards, tables, downloads."""
