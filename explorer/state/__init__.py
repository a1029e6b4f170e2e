"""The user's choices, kept in the session and in the page's address."""
