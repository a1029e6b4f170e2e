"""Related separability measures, intrinsic dimension, and how alike layers are."""
