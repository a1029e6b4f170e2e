"""SI of some layers after chosen epochs of a training."""
