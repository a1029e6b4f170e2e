"""Parts that several pages share: page header, widgets, sample cards, tables and download buttons."""
