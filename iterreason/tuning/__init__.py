"""Training data and recipes for the models that ship inside the package."""

from iterreason.models.hf.processing import tolerate_torchvision

tolerate_torchvision()  # these modules import transformers on their own
