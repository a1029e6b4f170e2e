"""What a person has chosen to see, in the session and in the page's address."""
