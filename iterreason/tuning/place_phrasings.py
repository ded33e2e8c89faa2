"""The words of questions about places and of composed questions.

Fields as in phrasings; {cn} is a third noun phrase, {v2} a second relation. What ends in _HELD_OUT is never trained on.
"""

from __future__ import annotations

BOX_COUNT = (
    "how many {s} are in the {v} box?",
    "how many {s} are there in the {v} box?",
    "how many {s} does the {v} box contain?",
    "how many {s} are inside the {v} box?",
)
BOX_EXISTS = (
    "is there {a} in the {v} box?",
    "are there any {s} in the {v} box?",
    "does the {v} box contain {a}?",
    "does the {v} box have {a}?",
)
BOX_COLOUR = ("what color is the {n} in the {v} box?", "what is the color of the {n} in the {v} box?")
BOX_SHAPE = ("what shape is the {n} in the {v} box?", "what shape is in the {v} box?")
WHICH_BOX = (
    "which box contains {a}?",
    "which box has {a}?",
    "in which box is the {n}?",
    "which box is the {n} in?",
    "what box contains {a}?",
)
BOXES = ("how many boxes are there?", "how many boxes are in the image?")
CELL_COUNT = (
    "how many {s} are in the {v} cell?",
    "how many {s} are in the {v} part{w}?",
    "how many {s} are at the {v}?",
)
CELL_EXISTS = ("is there {a} in the {v} cell?", "is there {a} in the {v} part{w}?", "is there {a} at the {v}{w}?")
CELL_COLOUR = (
    "what color is the {n} in the {v} cell?",
    "what color is the {n} in the {v} part{w}?",
    "what color is the {n} at the {v}{w}?",
)
CELL_SHAPE = (
    "what shape is in the {v} cell?",
    "what shape is in the {v} part{w}?",
    "what shape is at the {v}{w}?",
    "what is in the {v} cell?",
)
HALF_COUNT = ("how many {s} are in the {v} half{w}?", "how many {s} are on the {v} side{w}?")
HALF_EXISTS = ("is there {a} in the {v} half{w}?", "is there {a} on the {v} side{w}?")
END_COLOUR = ("what color is the {v} {n}{w}?", "what is the color of the {v} {n}?")
END_SHAPE = ("what shape is the {v} {n}{w}?", "what is the shape of the {v} {n}?")
ENDS = {
    "left": ("leftmost",), "right": ("rightmost",), "top": ("topmost", "highest"), "bottom": ("lowest", "bottommost"),
}  # fmt: skip

AND = ("is there {a} and {ba}{w}?", "are there both {s} and {bs}{w}?", "does the image contain {a} and {ba}?")
AND_HELD_OUT = ("can you see both {a} and {ba}?", "do you see {a} as well as {ba}?")
OR = ("is there {a} or {ba}{w}?", "are there any {s} or {bs}{w}?", "does the image contain {a} or {ba}?")
OR_HELD_OUT = ("can you see {a} or {ba}?", "is at least one of {a} and {ba} present?")
ODD = (
    "what {v} is the odd one out?",
    "what {v} is the shape that is different?",
    "one shape is not like the others. what {v} is it?",
)
ODD_HELD_OUT = ("all shapes but one are alike. what {v} is that one?", "which {v} does the odd shape have?")
CHAIN_BOTH = (
    "is the {n} {v} the {bn} and {v2} the {cn}?",
    "is the {n} both {v} the {bn} and {v2} the {cn}?",
)
CHAIN_BOTH_HELD_OUT = ("is it true that the {n} is {v} the {bn} and {v2} the {cn}?",)
CHAIN_LINE = (
    "is the {n} {v} the {bn} and the {bn} {v2} the {cn}?",
    "is the {n} {v} the {bn}, and is the {bn} {v2} the {cn}?",
)
CHAIN_LINE_HELD_OUT = ("does the {n} lie {v} the {bn} and the {bn} {v2} the {cn}?",)
MOST_BOX = ("which box has the most {s}?", "which box contains the most {s}?", "in which box are the most {s}?")
MOST_BOX_HELD_OUT = ("which box holds more {s} than any other box?", "where are the most {s}, in which box?")
BOX_MORE = (
    "are there more {s} in the {v} box than in the {v2} box?",
    "does the {v} box have more {s} than the {v2} box?",
)
BOX_MORE_HELD_OUT = ("does the {v} box contain a greater number of {s} than the {v2} box?",)
EVERY_BOX = ("is there {a} in every box?", "does every box contain {a}?", "does each box have {a}?")
EVERY_BOX_HELD_OUT = ("do all boxes have {a}?", "is {a} in each of the boxes?")
ONE_BOX_BOTH = ("is there a box with {a} and {ba}?", "does one box contain both {a} and {ba}?")
ONE_BOX_BOTH_HELD_OUT = ("are {a} and {ba} in the same box?",)
TOTAL = (
    "how many {s} and {bs} are there in total{w}?",
    "what is the total number of {s} and {bs}?",
    "how many {s} and {bs} are there{w}?",
)
TOTAL_HELD_OUT = ("count the {s} and the {bs} together.", "how many shapes are {s} or {bs}?")
DIFFERENCE = ("how many more {s} than {bs} are there{w}?", "how many more {s} are there than {bs}?")
DIFFERENCE_HELD_OUT = ("by how many do the {s} outnumber the {bs}?",)
MORE_HELD_OUT = ("do the {s} outnumber the {bs}?", "can you see more {s} than {bs}?")
FEWER_HELD_OUT = ("can you see fewer {s} than {bs}?", "do the {bs} outnumber the {s}?")
EQUAL_HELD_OUT = ("do {s} and {bs} occur equally often?", "can you see just as many {s} as {bs}?")
ALL_HELD_OUT = ("does every {n} happen to be {va}?", "would you say that all {s} are {v}?")
ANY_HELD_OUT = ("is at least one of the {s} {va}?", "is there any {n} that is {va}?")
NONE_HELD_OUT = ("is it true that none of the {s} are {v}?",)
NUMBER_HELD_OUT = {
    "exactly": ("are the {s} {k} in number?",),
    "at least": ("are the {s} {k} in number, or even more?",),
    "at most": ("are the {s} no more than {k} in number?",),
    "more than": ("do the {s} exceed {k} in number?",),
    "fewer than": ("do the {s} fall short of {k} in number?",),
}
