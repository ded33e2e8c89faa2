"""Lets torchvision from PyPI, which is linked against CUDA, be imported beside a CPU build of torch.

The Makefile puts it into .venv-lavis and .venv-vllm, where a .pth file imports it at start. Such a torchvision cannot
load its operators, and fails on describing two of them that nothing here uses. Where they load, this does nothing.
"""

import importlib.abc
import sys

_kept = []


class _BeforeItDescribesThem(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision._meta_registrations" and not _kept:
            extension = sys.modules.get("torchvision.extension")
            if extension is not None and not extension._has_ops():
                import torch

                library = torch.library.Library("torchvision", "FRAGMENT")
                for operator in ("nms", "qnms"):
                    library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
                _kept.append(library)
        return None  # the module itself is found as ever


sys.meta_path.insert(0, _BeforeItDescribesThem())
