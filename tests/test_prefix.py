"""The tree of known prefixes returns each token's own states, shares what is common, and keeps its bound."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from iterreason.models.prefix import PrefixCache, States, common_prefix

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)
TOKEN_BYTES = 2 * 4  # keys and values of one layer, head and number


def states(tokens: list[int], start: int) -> States:
    """States that tell a token by all that came before it, as a model's do."""
    marks = [float(hash(tuple(tokens[: at + 1])) % 100_003) for at in range(start, len(tokens))]
    keys = torch.tensor(marks).reshape(1, -1, 1)
    return [(keys, keys + 1)]


def joined(pieces: list[States]) -> list[float]:
    return [number for piece in pieces for number in piece[0][0].flatten().tolist()]


@given(SEQUENCES)
def test_what_is_found_is_what_was_added(sequences: list[list[int]]) -> None:
    """The longest known prefix is found, with the states of exactly its tokens; only new ones are asked for."""
    cache = PrefixCache(2**20)
    for number, tokens in enumerate(sequences):
        known, pieces = cache.find(tokens)
        assert known == max((common_prefix(tokens, other) for other in sequences[:number]), default=0)
        assert joined(pieces) == joined([states(tokens[:known], 0)])
        asked: list[int] = []
        cache.add(tokens, lambda start, tokens=tokens, asked=asked: (asked.append(start), states(tokens, start))[1])
        assert asked == ([known] if known < len(tokens) else [])
        assert cache.find(tokens)[0] == len(tokens)


@given(SEQUENCES)
def test_shared_tokens_are_stored_once(sequences: list[list[int]]) -> None:
    """The memory taken is that of the distinct prefixes."""
    cache = PrefixCache(2**20)
    for tokens in sequences:
        cache.add(tokens, lambda start, tokens=tokens: states(tokens, start))
    distinct = {tuple(tokens[: at + 1]) for tokens in sequences for at in range(len(tokens))}
    assert cache.bytes == len(distinct) * TOKEN_BYTES


@given(SEQUENCES, st.integers(0, 20))
def test_the_bound_is_kept_and_what_is_left_is_right(sequences: list[list[int]], tokens_kept: int) -> None:
    """However much is added, the bound holds, and what is still found is still right."""
    cache = PrefixCache(tokens_kept * TOKEN_BYTES)
    for tokens in sequences:
        cache.add(tokens, lambda start, tokens=tokens: states(tokens, start))
        assert cache.bytes <= cache.limit
    for tokens in sequences:
        known, pieces = cache.find(tokens)
        assert joined(pieces) == joined([states(tokens[:known], 0)])


def test_the_longest_unused_goes_first() -> None:
    """What was just looked for stays; the other goes."""
    cache = PrefixCache(8 * TOKEN_BYTES)
    first, second, third = [0, 1, 1, 1], [1, 1, 1, 1], [2, 1, 1, 1]
    cache.add(first, lambda start: states(first, start))
    cache.add(second, lambda start: states(second, start))
    cache.find(first)
    cache.add(third, lambda start: states(third, start))
    assert [cache.find(tokens)[0] for tokens in (first, second, third)] == [4, 0, 4]


def test_states_found_outlive_their_eviction() -> None:
    """A batch in the making keeps what it was given."""
    cache = PrefixCache(4 * TOKEN_BYTES)
    first, second = [0, 1, 1, 1], [1, 1, 1, 1]
    cache.add(first, lambda start: states(first, start))
    _, pieces = cache.find(first)
    cache.add(second, lambda start: states(second, start))
    assert joined(pieces) == joined([states(first, 0)])
    cache.clear()
    assert cache.bytes == 0
    assert cache.find(second) == (0, [])
