"""Trees of prompts and blocks of their tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner import tree as trees
from spacy_universalner.tree import grow

PROMPTS = {
    "none": ((), (), (), ()),
    "one": (((5, 6),), (5, 6), (0, 1), ((0, 1),)),
    "begin alike": (((5, 6, 7), (5, 6, 8)), (5, 6, 7, 8), (0, 1, 2, 2), ((0, 1, 2), (0, 1, 3))),
    "end alike": (((5, 7), (6, 7)), (5, 7, 6, 7), (0, 1, 0, 1), ((0, 1), (2, 3))),
    "the same twice": (((5, 6), (5, 6)), (5, 6), (0, 1), ((0, 1), (0, 1))),
    "one begins the other": (((5,), (5, 6)), (5, 6), (0, 1), ((0,), (0, 1))),
    "a token twice": (((5, 5),), (5, 5), (0, 1), ((0, 1),)),
}


@pytest.mark.parametrize(("prompts", "ids", "depths", "chains"), PROMPTS.values(), ids=PROMPTS)
def test_a_tree(prompts, ids, depths, chains):
    tree = grow(prompts)
    assert (tree.ids, tree.depths, tree.chains) == (ids, depths, chains)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), max_size=8).map(tuple))
def test_every_prompt_is_in_its_tree(prompts):
    tree = grow(prompts)
    assert [tuple(tree.ids[node] for node in chain) for chain in tree.chains] == list(prompts)
    assert all([tree.depths[node] for node in chain] == list(range(len(chain))) for chain in tree.chains)
    assert len(tree.ids) == len({prompt[:end] for prompt in prompts for end in range(1, len(prompt) + 1)})


@pytest.mark.parametrize("width", [1, 2, 3, 128])
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), max_size=8).map(tuple))
def test_a_token_sees_what_it_follows_however_blocks_are_split(width, prompts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "BLOCK_TOKENS", width)
        tree = grow(prompts)
    seen = {}
    for keys, sees in tree.blocks:
        own = keys[len(keys) - len(sees) :]
        assert len(own) <= width
        seen.update({node: set(keys[row].tolist()) for node, row in zip(own.tolist(), sees, strict=True)})
    expected = {node: set(chain[: i + 1]) for chain in tree.chains for i, node in enumerate(chain)}
    assert seen == expected


def test_a_long_prompt_is_a_tree_of_little_memory():
    tree = grow((tuple(range(3000)),))
    assert sum(sees.nbytes for _, sees in tree.blocks) < 3000**2
    assert np.array_equal(tree.blocks[-1][0], np.arange(3000))
