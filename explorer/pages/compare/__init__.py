"""SI against what a layer is, and two studies beside each other."""
