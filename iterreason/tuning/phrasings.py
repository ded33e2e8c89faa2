"""The words and sentence patterns of the questions about drawn scenes.

In a pattern, {a} is a noun phrase with its article ("a red circle"), {n} without ("red circle"), {s} its plural;
{b...} stands for a second phrase, {v} for a value ("red", "circles"), {va} for its
singular ("red", "a circle"), {k} for a number, {w} for the end of the
sentence ("", " in the image", ...).
"""

from __future__ import annotations

WHERE = ("", "", "", " in the image", " in the picture", " in this image", " in the scene", " here")
NOUNS = ("shape", "object", "thing")
SIZE_WORDS = {"small": ("small", "small", "little", "tiny"), "large": ("large", "big", "large", "big")}
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")

EXISTS = (
    "is there {a}{w}?",
    "is there {a}{w}?",
    "are there any {s}{w}?",
    "are there {s}{w}?",
    "does the image contain {a}?",
    "does the picture show {a}?",
    "does the image have any {s}?",
    "is {a} present{w}?",
    "is {a} visible{w}?",
    "can you see {a}{w}?",
    "do you see any {s}{w}?",
    "is there at least one {n}{w}?",
)
EXISTS_COLOUR = ("is anything {v}{w}?", "is there anything {v}{w}?", "is there something {v}{w}?")
EXISTS_NOT = (
    "is there not {a}{w}?",
    "is no {n} present{w}?",
    "does the image not contain {a}?",
    "are there no {s}{w}?",
    "is there no {n}{w}?",
)
COUNT = (
    "how many {s} are there{w}?",
    "how many {s} are there{w}?",
    "how many {s} are in the image?",
    "how many {s} are in the picture?",
    "how many {s} can you see{w}?",
    "how many {s} do you see{w}?",
    "how many {s} does the image contain?",
    "how many {s} are visible{w}?",
    "how many {s}{w}?",
    "what is the number of {s}{w}?",
    "what is the total number of {s}{w}?",
    "count the {s}{w}.",
)
COLOUR = (
    "what color is the {n}{w}?",
    "what color is the {n}{w}?",
    "what is the color of the {n}{w}?",
    "which color is the {n}{w}?",
    "what color does the {n} have?",
    "the {n} is what color?",
    "what colour is the {n}{w}?",
    "what is the colour of the {n}?",
)
COLOUR_PLURAL = ("what color are the {s}{w}?", "what is the color of the {s}{w}?", "which color are the {s}?")
SHAPE = (
    "what shape is the {n}{w}?",
    "what is the shape of the {n}{w}?",
    "which shape is the {n}{w}?",
    "what kind of shape is the {n}?",
    "what type of shape is the {n}{w}?",
    "what shape does the {n} have?",
    "what is the {n}{w}?",
)
SHAPE_ONLY = (
    "what shape is in the image?",
    "what shape does the image contain?",
    "what shape is present?",
    "what shape is there{w}?",
    "what is the shape{w}?",
)
SIZE = (
    "what size is the {n}{w}?",
    "what is the size of the {n}{w}?",
    "how big is the {n}{w}?",
    "how large is the {n}{w}?",
    "which size is the {n}?",
    "is the {n} small or large?",
    "is the {n} large or small?",
)
CHECK = ("is the {n} {v}?", "is the {n}{w} {v}?", "is the color of the {n} {v}?")
CHECK_SIZE = ("is the {n} {v}?", "is the {n}{w} {v}?")
CHECK_SHAPE = ("is the {n} {v}?", "is the shape of the {n} {v}?")
RELATIONS = {
    "left": ("left of", "to the left of", "on the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right of", "on the right side of"),
    "above": ("above", "higher than", "over"),
    "below": ("below", "lower than", "under"),
}
RELATION = ("is the {n} {v} the {bn}?", "is the {n} {v} the {bn}{w}?")
RELATION_EXISTS = ("is there {a} {v} the {bn}?", "is there {a} {v} {ba}{w}?", "are there any {s} {v} the {bn}?")
POSITION = ("where is the {n}{w}?", "where is the {n} located{w}?", "what is the position of the {n}{w}?")
MORE = (
    "are there more {s} than {bs}{w}?",
    "are there more {s} than {bs}{w}?",
    "does the image have more {s} than {bs}?",
    "is the number of {s} greater than the number of {bs}?",
    "is the number of {s} larger than the number of {bs}?",
)
FEWER = (
    "are there fewer {s} than {bs}{w}?",
    "are there less {s} than {bs}{w}?",
    "is the number of {s} smaller than the number of {bs}?",
    "is the number of {s} less than the number of {bs}?",
)
EQUAL = (
    "are there as many {s} as {bs}{w}?",
    "are there the same number of {s} and {bs}{w}?",
    "is the number of {s} equal to the number of {bs}?",
    "is the number of {s} the same as the number of {bs}?",
    "are there an equal number of {s} and {bs}{w}?",
)
ALL = (
    "are all {s} {v}?",
    "are all the {s} {v}?",
    "are all of the {s}{w} {v}?",
    "is every {n} {va}?",
    "is each {n} {va}?",
)
ANY = (
    "are any {s} {v}?",
    "is any {n} {va}?",
    "are any of the {s}{w} {v}?",
    "is one of the {s} {va}?",
    "are some {s} {v}?",
)
NONE = ("are none of the {s} {v}?", "is no {n} {va}?")
SAME = (
    "are all {s} the same {v}?",
    "do all {s} have the same {v}?",
    "are all the {s}{w} of the same {v}?",
    "do the {s} have the same {v}?",
)
# Number tests: pattern -> whether `count` passes with the number k.
EXACTLY = ("are there exactly {k} {s}{w}?", "are there {k} {s}{w}?", "does the image contain {k} {s}?")
AT_LEAST = ("are there at least {k} {s}{w}?", "are there {k} or more {s}{w}?")
AT_MOST = ("are there at most {k} {s}{w}?", "are there {k} or fewer {s}{w}?")
MORE_THAN = ("are there more than {k} {s}{w}?", "is the number of {s} greater than {k}?")
FEWER_THAN = ("are there fewer than {k} {s}{w}?", "are there less than {k} {s}{w}?")
ONLY_ONE = ("is there exactly one {n}{w}?", "is there only one {n}{w}?", "is there just one {n}{w}?")
CAPTION = (
    "describe the image.",
    "describe the image.",
    "describe the image.",
    "describe the picture.",
    "describe the scene.",
    "what is in the image?",
    "what does the image show?",
    "what objects are in the image?",
    "list the objects in the image.",
)
# Words that no pattern above uses but that a language model may: known whole, so that they cost one token.
EXTRA_WORDS = (
    "they you me tell please answer question yes no none not both either neither same different other another next "
    "near close far between inside outside beside behind front center middle corner edge top bottom upper lower "
    "side half most least many much some none only also with without has had was were will would could should if "
    "then else and or but so such these those this that it its photo photograph drawing background figure figures "
    "item items box boxes grid row column first second third last white pink cyan magenta grey dark light bright "
    "round disc disk nine ten number total amount pair group single two three horizontal vertical biggest smallest "
    "largest medium leftmost rightmost topmost bottommost there's isn't aren't people person man woman dog cat car "
    "tree sky"
)
