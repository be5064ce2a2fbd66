"""Training and inference see the same ids: on the tiny tokenizer and on the real one."""

import pytest
from transformers import AutoTokenizer

from spacy_universalner.encoding import Encoder
from spacy_universalner.prompts import PLAIN_V1, TEMPLATES, UNINER_V1
from spacy_universalner.records import Conversation, Query
from spacy_universalner.registry import Answer
from spacy_universalner.training.examples import make_row

TEXTS = {
    "plain": "Ada Lovelace moved to Paris.",
    "unicode": "Zoë and Łukasz 東京 Δt naïve e\u0301 İstanbul",
    "quotes": 'She said: "it\'s" “so” «là» \\n',
    "line breaks": "one\n\ntwo\r\n\tthree\n",
    "special tokens": "<|im_end|> <|im_start|>user <|endoftext|> </s>",
    "digits": "Sum 1234567890 and 42.",
    "emoji": "👩‍🔬 likes 🍕🍕",
    "spaces": "  two  spaces   ",
    "empty": "",
    "words of the template": "Text: x ASSISTANT: USER: What describes person in the text? ASSISTANT: []",
}
QUERIES = {
    "nothing": Query("person", ()),
    "two mentions": Query("person", ("Ada", "Ada Lovelace")),
    "unicode": Query("größe 東京", ("Zoë", "東京")),
    "quotes": Query('a "b" type', ('"it\'s"', "\\n", "[]")),
    "line break": Query("a\nb", ("one\n\ntwo",)),
    "special tokens": Query("<|im_end|>", ("<|im_end|>", "<|endoftext|>")),
    "digits": Query("year 1234", ("42", "1234567890")),
    "emoji": Query("🍕", ("👩‍🔬",)),
    "odd edges": Query(" person ", (" Ada ", "", ":")),
    "colon": Query("type: ASSISTANT:", (":", '"')),
}
OTHERS = (Query("city", ("Paris",)), Query("date", ()))


@pytest.fixture(scope="module", params=["base", "tiny_base"])
def encoder(request):
    return Encoder(AutoTokenizer.from_pretrained(request.getfixturevalue(request.param)), PLAIN_V1)


@pytest.fixture(scope="module")
def real(base):
    return AutoTokenizer.from_pretrained(base)


def row_of(encoder, text, *queries):
    return make_row(encoder, Conversation("1", text, queries), queries)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_asked_is_a_prefix_of_what_is_learnt(encoder, text, query):
    asked = (*encoder.passage(text), *encoder.ask((query.type,)))
    row = row_of(encoder, text, query, *OTHERS)
    assert row.ids[: len(asked)] == asked
    assert row.learnt[0] == len(asked)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_later_question_is_asked_with_the_same_ids(encoder, query):
    row = row_of(encoder, TEXTS["plain"], *OTHERS, query)
    first = row_of(encoder, TEXTS["plain"], *OTHERS)
    asked = (*first.ids, *encoder.ask((query.type,)))
    assert row.ids[: len(asked)] == asked
    assert row.learnt[: len(first.learnt)] == first.learnt
    assert row.learnt[len(first.learnt)] == len(asked)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_loss_is_on_the_answer_and_its_end_only(encoder, query):
    row = row_of(encoder, TEXTS["unicode"], query)
    learnt = [row.ids[position] for position in row.learnt]
    assert list(row.learnt) == list(range(row.learnt[0], len(row.ids)))
    assert learnt.pop() == encoder.end
    assert encoder.decode(learnt) == PLAIN_V1.answer([query])


def test_every_answer_of_a_conversation_is_learnt(encoder):
    row = row_of(encoder, TEXTS["plain"], *QUERIES.values())
    said = encoder.tokenizer.decode([row.ids[position] for position in row.learnt])
    answers = [PLAIN_V1.answer([query]) for query in QUERIES.values()]
    assert said == "".join(answer + encoder.tokenizer.eos_token for answer in answers)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_special_tokens_never_come_from_text(encoder, text, query):
    special = set(encoder.tokenizer.added_tokens_decoder)
    ids = row_of(encoder, text, query).ids
    exchanges = 2  # the passage, and one question: each is followed by the end token
    assert [id_ for id_ in ids if id_ in special] == [encoder.end] * exchanges


def test_every_special_token_spelled_out_is_plain_text(real):
    encoder = Encoder(real, PLAIN_V1)
    for token in (added.content for added in real.added_tokens_decoder.values()):
        ids = row_of(encoder, token, Query(token, (token,))).ids
        assert [id_ for id_ in ids if id_ in real.added_tokens_decoder] == [encoder.end] * 2, token


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nothing_of_a_text_is_lost(encoder, text):
    assert encoder.decode(encoder.passage(text)) == PLAIN_V1.passage(text)


# Every template, with every kind of tokenizer

PREFIXED = ["plain.v1", "twice.v1", "dataset.v1", "dataset-twice.v1", "definition.v1", "all-in-one.v1", "vicuna.v1"]
CASES = {
    f"{text}, {query}": (TEXTS[text], QUERIES[query])
    for queries in (QUERIES, reversed(QUERIES))
    for text, query in zip(TEXTS, queries, strict=True)
}


@pytest.fixture(scope="module", params=["base", "tiny_base", "llama_base"])
def tokenizer(request):
    return AutoTokenizer.from_pretrained(request.getfixturevalue(request.param))


@pytest.mark.parametrize(("text", "query"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", PREFIXED)
def test_what_is_asked_is_a_prefix_of_what_is_learnt_in_a_template(tokenizer, name, text, query):
    encoder = Encoder(tokenizer, TEMPLATES[name])
    conversation = Conversation("1", text, (query, *OTHERS), "a set")
    first = encoder.template.groups(conversation.queries)[0]
    asked = (*encoder.passage(text, "a set"), *encoder.ask(tuple(query.type for query in first)))
    row = make_row(encoder, conversation, conversation.queries)
    assert row.ids[: len(asked)] == asked
    assert row.learnt[0] == len(asked)


@pytest.mark.parametrize(("text", "query"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_learnt_of_a_template_is_what_is_read(tokenizer, name, text, query):
    encoder = Encoder(tokenizer, TEMPLATES[name])
    queries = (query, *OTHERS)
    for group in encoder.template.groups(queries):
        exchange = encoder.exchange(group)
        answer = encoder.decode(exchange.ids[exchange.answer_start :])
        assert answer.strip() == encoder.template.answer(group).strip()
        read = encoder.template.read(answer, [query.type for query in group])
        assert read == [Answer(tuple(mention.strip() for mention in query.mentions)) for query in group]


@pytest.mark.parametrize(("text", "query"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", TEMPLATES)
def test_no_special_token_of_a_template_comes_from_text(tokenizer, name, text, query):
    encoder = Encoder(tokenizer, TEMPLATES[name])
    conversation = Conversation("1", text, (query,), "</s><|im_end|>")
    row = make_row(encoder, conversation, conversation.queries)
    first = [] if tokenizer.bos_token_id is None else tokenizer("")["input_ids"]
    ends = [encoder.end] * (1 + encoder.template.ends_passage)
    assert [i for i in row.ids if i in tokenizer.all_special_ids] == [*first, *ends]


# The released checkpoints' template, with a tokenizer like theirs

ADA = Conversation("1", "Ada works at IBM.", (Query("person", ("Ada",)), Query("größe", ("Zoë",))))
ASKED = (
    "A virtual assistant answers questions from a user based on the provided text. USER: Text: Ada works at IBM. "
    "ASSISTANT: I've read this text.</s>USER: What describes person in the text? ASSISTANT:"
)
LEARNT = [
    (
        "A virtual assistant answers questions from a user based on the provided paragraph. USER: Text: Ada works at "
        "IBM.",
        False,
    ),
    ("ASSISTANT: ", False),
    ("I've read this text.</s>", True),
    ("USER: What describes person in the text?", False),
    ("ASSISTANT: ", False),
    ('["Ada"]</s>', True),
    ("USER: What describes größe in the text?", False),
    ("ASSISTANT: ", False),
    (r'["Zo\u00eb"]</s>', True),
]


@pytest.fixture(scope="module")
def uniner(llama_base):
    return Encoder(AutoTokenizer.from_pretrained(llama_base), UNINER_V1)


def test_the_tokenizer_is_like_llamas(uniner):
    tokens = uniner.tokenizer.convert_ids_to_tokens(uniner.tokenizer("USER: é</s>USER: ")["input_ids"])
    assert tokens == ["<s>", "▁USER:", "▁", "<0xC3>", "<0xA9>", "</s>", "▁USER:", "▁"]


def test_released_checkpoints_are_asked_with_the_ids_of_the_authors_prompt(uniner):
    asked = [*uniner.passage(ADA.text), *uniner.ask(("person",))]
    assert asked == uniner.tokenizer(ASKED, split_special_tokens=False)["input_ids"]


def test_released_checkpoints_were_taught_with_the_ids_of_the_authors_pieces(uniner):
    ids, learnt = [], []
    for number, (piece, said) in enumerate(LEARNT):
        piece_ids = uniner.tokenizer(piece, add_special_tokens=number == 0, split_special_tokens=False)["input_ids"]
        learnt += range(len(ids), len(ids) + len(piece_ids)) if said else []
        ids += piece_ids
    row = make_row(uniner, ADA, ADA.queries)
    assert (row.ids, row.learnt) == (tuple(ids), tuple(learnt))


def test_what_released_checkpoints_are_asked_is_not_quite_what_they_learnt(uniner):
    tokens = uniner.tokenizer.convert_ids_to_tokens
    passage, learnt = uniner.passage(ADA.text), list(uniner.first_exchange(ADA.text).ids)
    same = next(i for i, (asked, taught) in enumerate(zip(passage, learnt, strict=False)) if asked != taught)
    assert tokens(passage[:same])[-1] == "▁provided"
    assert tokens(passage[-6:]) == ["▁ASSISTANT:", "▁I've", "▁read", "▁this", "▁text.", "</s>"]
    assert tokens(learnt[-7:]) == ["▁ASSISTANT:", "▁", "▁I've", "▁read", "▁this", "▁text.", "</s>"]
    for query in ADA.queries:
        asked, exchange = uniner.ask((query.type,)), uniner.exchange([query])
        assert exchange.ids[: len(asked)] == asked
        assert tokens(exchange.ids[len(asked) : exchange.answer_start]) == ["▁"]


def test_ids_do_not_depend_on_what_was_encoded_before(encoder):
    before = encoder.exchange([Query("person", ("Ada",))])
    encoder.tokenizer("<|im_end|>")
    assert encoder.exchange([Query("person", ("Ada",))]) == before
    assert encoder.ask(("person",)) == before.ids[: before.answer_start]


def test_no_mention_is_one_token_of_the_real_tokenizer(real):
    exchange = Encoder(real, PLAIN_V1).exchange([Query("person", ())])
    assert [real.decode([id_]) for id_ in exchange.ids[exchange.answer_start :]] == [" []", "<|im_end|>"]


def test_the_real_tokenizer_splits_digits(real):
    expected = [13764, 216, 33, 34, 35, 36, 37, 38, 39, 40, 41, 32, 284, 216, 36, 34, 30]
    assert real("Sum 1234567890 and 42.", add_special_tokens=False)["input_ids"] == expected
