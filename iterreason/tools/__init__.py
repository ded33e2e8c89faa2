"""Tools on the answerer's side: what reads text or finds objects in an image, behind slots like any other model.

| tool | module | needs |
| --- | --- | --- |
| `ocr` | ocr | extra `tools` |
| `detect:PATH-OR-ID` | detect | extra `local` |
| `vqa`, `caption`, `crop` | – | nothing: they are the answerer's |
| an object of your own | – | – |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from iterreason.errors import BadTool, MissingExtra, unknown
from iterreason.records import Region
from iterreason.tools.spec import ANSWERERS, Argument, ToolSpec

if TYPE_CHECKING:
    from iterreason.tools.model import ToolModel

__all__ = ["Argument", "Found", "Tool", "ToolSpec"]

TOOLS = {
    "ocr": "ocr, reads the text in an image (RapidOCR; its weights come with it)",
    "detect": "detect:PATH-OR-ID, finds objects (a transformers detector, also one that takes labels)",
}
_NEEDS = {"ocr": ("rapidocr", "onnxruntime"), "detect": ("torch", "transformers")}
_EXTRA = {"ocr": "tools", "detect": "local"}


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a tool found.

    probability: the model's own, in [0, 1]; None where it gives none.
    region: where, in fractions of the pixels that the tool was given; None for all of them.
    """

    text: str
    probability: float | None = None
    region: Region | None = None


@runtime_checkable
class Tool(Protocol):
    """Anything that finds things in an image.

    class Barcodes:
        spec = ToolSpec("barcodes", "reads bar codes", (Argument("kind", choices=("ean", "qr")),))

        def use(self, pixels, kind):
            return [Found("4006381333931", 0.98, Region(0.1, 0.1, 0.4, 0.2))]
    """

    spec: ToolSpec

    @property
    def use(self) -> Callable[..., Sequence[Found]]:
        """A method: what it finds in RGB pixels (a PIL image of the region alone), with the arguments of its spec.

        One use at a time; what it raises becomes evidence that it failed. Arguments of kind `texts` come as a list.
        """
        ...


def missing(name: str) -> str | None:
    """The pip line that makes this tool usable here; None where it is."""
    absent = [package for package in _NEEDS.get(name, ()) if find_spec(package) is None]
    return f"pip install 'iterreason[{_EXTRA[name]}]'" if absent else None


def tool_name(wanted: str | Tool) -> str:
    """The name by which the reasoner calls the tool; raises BadTool where it has none."""
    if isinstance(wanted, str):
        return wanted.partition(":")[0]
    _check(wanted)
    return wanted.spec.name


def open_tool(wanted: str | Tool) -> ToolModel:
    """Open a tool, `NAME` or `NAME:MODEL`, or take the caller's own; raises BadTool, MissingExtra, ModelFailed."""
    from iterreason.tools.model import ToolModel

    if not isinstance(wanted, str):
        _check(wanted)
        return ToolModel(wanted)
    name, _, model = wanted.partition(":")
    if name not in TOOLS:
        forms = "; ".join(TOOLS.values())
        raise BadTool(f"{unknown('tool', name, (*TOOLS, *ANSWERERS))} Those with a model are: {forms}.")
    if bool(model) == (name == "ocr"):
        raise BadTool(f"the tool '{wanted}' cannot be opened; the form is: {TOOLS[name]}")
    if line := missing(name):
        raise MissingExtra(f"the tool '{name}' needs packages that are not installed; run: {line}")
    if name == "ocr":
        from iterreason.tools.ocr import Ocr

        return ToolModel(Ocr())
    from iterreason.tools.detect import load

    return ToolModel(load(model))


def _check(tool: Any) -> None:
    kind = type(tool).__name__
    if not isinstance(getattr(tool, "spec", None), ToolSpec) or not callable(getattr(tool, "use", None)):
        raise BadTool(f"{kind} is no tool: it needs `spec`, a ToolSpec, and `use(pixels, **arguments)`")
    if tool.spec.name in ANSWERERS:
        raise BadTool(f"the tool {kind} is called '{tool.spec.name}', which is what the answerer does; rename it")
