"""Labelled images: found in folders, archives or TensorFlow Datasets, checked, chosen, decoded."""
