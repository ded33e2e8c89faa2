"""More words for the composed questions: those that the reasoner learns beside the answerer's, and nobody is tested on.

A reasoner that only knew the answerer's own phrasings would add nothing where a person uses other words. These were
written without looking at the phrasings that are held out (`_HELD_OUT` in place_phrasings), and none of them is one.
Fields as in phrasings and place_phrasings.
"""

from __future__ import annotations

MORE = (
    "would you say there are more {s} than {bs}?",
    "do we have more {s} than {bs} here?",
    "counting both, are the {s} in the majority over the {bs}?",
    "is the count of {s} above the count of {bs}?",
    "compare the {s} with the {bs}: are there more of the first?",
    "i think there are more {s} than {bs}. is that right?",
)
FEWER = (
    "would you say there are fewer {s} than {bs}?",
    "do we have fewer {s} than {bs} here?",
    "is the count of {s} below the count of {bs}?",
    "compare the {s} with the {bs}: are there fewer of the first?",
    "i think there are fewer {s} than {bs}. is that right?",
    "are the {s} in the minority next to the {bs}?",
)
EQUAL = (
    "is there one {n} for each {bn}, with none left over?",
    "compare the {s} with the {bs}: are there just as many?",
    "do the counts of {s} and {bs} come out the same?",
    "would counting {s} and counting {bs} give one and the same number?",
    "i think there are as many {s} as {bs}. is that right?",
)
ALL = (
    "can one say that all of the {s} here are {v}?",
    "look at the {s}: is each of them {va}?",
    "are the {s} all {v}, with no exception?",
    "would it be true to say that every {n} is {va}?",
    "i think all the {s} are {v}. is that right?",
)
ANY = (
    "look at the {s}: is even one of them {va}?",
    "would you find a {n} that is {va}?",
    "is there some {n} that is {va}?",
    "can one of the {s} be called {va}?",
    "i think some of the {s} are {v}. is that right?",
)
NONE = (
    "look at the {s}: is it true that not even one is {va}?",
    "would you say that no {n} here is {va}?",
    "is it so that none of these {s} is {va}?",
    "i think none of the {s} are {v}. is that right?",
)
AND = (
    "do you find {a} as well as {ba}?",
    "are {a} and {ba} both in the picture?",
    "can you see {a}, and also {ba}?",
    "is {a} there together with {ba}?",
    "i need {a} and {ba}. are both there?",
)
OR = (
    "do you find {a}, or else {ba}?",
    "is at least one of these there: {a}, {ba}?",
    "would you find {a} or {ba} in it?",
    "i need {a} or {ba}. is one of the two there?",
    "can you see {a}, or if not, {ba}?",
)
ODD = (
    "all but one have something in common. what {v} is that one?",
    "which {v} has the exception?",
    "find the one that does not fit in. what {v} is it?",
    "tell me the {v} of the one that does not match the rest.",
)
CHAIN_BOTH = (
    "does the {n} lie {v} the {bn} and also {v2} the {cn}?",
    "would you find the {n} {v} the {bn} and at once {v2} the {cn}?",
    "look at the {n}: is it {v} the {bn}, and also {v2} the {cn}?",
    "i think the {n} is {v} the {bn} and {v2} the {cn}. is that right?",
)
CHAIN_LINE = (
    "does the {n} lie {v} the {bn}, and the {bn} {v2} the {cn}?",
    "i think the {n} is {v} the {bn} and the {bn} {v2} the {cn}. is that right?",
    "is it so that the {n} is {v} the {bn} while the {bn} is {v2} the {cn}?",
)
MOST_BOX = (
    "compare the boxes: which one has the most {s} in it?",
    "if i want as many {s} as possible, which box do i take?",
    "the most {s} lie in which box?",
    "count the {s} box by box. where is the highest count?",
)
BOX_MORE = (
    "does the {v} box win over the {v2} box by its number of {s}?",
    "count the {s} in both: has the {v} box more than the {v2} box?",
    "compared with the {v2} box, are there more {s} in the {v} box?",
    "i think the {v} box has more {s} than the {v2} box. is that right?",
)
EVERY_BOX = (
    "look into all the boxes: do you always find {a}?",
    "has every one of the boxes {a} in it?",
    "would you find {a} whichever box you look into?",
    "i think there is {a} in all of the boxes. is that right?",
)
ONE_BOX_BOTH = (
    "do {a} and {ba} share a box somewhere?",
    "would you find {a} next to {ba} in one and the same box?",
    "can {a} and {ba} be found together in a single box?",
    "i think some box has both {a} and {ba}. is that right?",
)
TOTAL = (
    "count the {s}, count the {bs}: what is the sum?",
    "what do you get if you add the number of {bs} to the number of {s}?",
    "taking the {s} and the {bs} as one group, how many does it have?",
    "how many are there if {s} and {bs} both count?",
)
DIFFERENCE = (
    "take the number of {bs} from the number of {s}: what is left?",
    "the {s} are ahead of the {bs} by how many?",
    "what is the number of {s} minus the number of {bs}?",
    "how many extra {s} are there, compared with the {bs}?",
)
NUMBER = {
    "exactly": ("is the count of {s} {k}?", "do you count {k} {s}, no more and no less?"),
    "at least": ("do you count at least {k} {s}?", "is the number of {s} {k} or higher?"),
    "at most": ("do you count at most {k} {s}?", "is the number of {s} {k} or lower?"),
    "more than": ("do you count more than {k} {s}?", "is the count of {s} above {k}?"),
    "fewer than": ("do you count fewer than {k} {s}?", "is the count of {s} below {k}?"),
}
