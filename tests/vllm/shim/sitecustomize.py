"""Lets PyPI's torchvision, which is linked against CUDA, be imported beside a CPU build of torch.

Its compiled operators are missing then; the two whose mere declaration its Python code wants are declared here. Nothing
that vLLM does with LLaVA calls them. For the tests alone: on a machine with a GPU none of this is needed.
"""

import importlib.abc
import sys

_declared = []  # a library's declarations go with it


class _Operators(importlib.abc.MetaPathFinder):
    """Declares the operators when torchvision is about to register what they return."""

    def find_spec(self, name, path=None, target=None):
        """Find nothing; the import goes on as it would."""
        if name == "torchvision._meta_registrations" and not _declared:
            extension = sys.modules.get("torchvision.extension")
            if extension is not None and not extension._has_ops():
                import torch

                library = torch.library.Library("torchvision", "FRAGMENT")
                for operator in ("nms", "qnms"):
                    library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
                _declared.append(library)


sys.meta_path.insert(0, _Operators())
