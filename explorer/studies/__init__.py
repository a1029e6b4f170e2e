"""Study folders as the pages see them."""
