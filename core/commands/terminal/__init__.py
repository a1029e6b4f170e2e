"""What commands have in common at the terminal: types of arguments, and progress."""
