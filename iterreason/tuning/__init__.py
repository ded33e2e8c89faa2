"""Training data and recipes for the models that ship inside the package."""
