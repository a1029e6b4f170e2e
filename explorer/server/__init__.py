"""The server around the pages: the public mode's limits, its visitors, its disk, its errors."""
