"""SI while a network was trained."""
