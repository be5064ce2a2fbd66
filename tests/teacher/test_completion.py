import pytest

from spacy_universalner.teacher.completion import (
    ANSWER,
    CUT_OFF,
    EMPTY,
    FAILED,
    KINDS,
    NOT_ASKED,
    REFUSAL,
    Completion,
    as_completion,
    read_kind,
)


@pytest.mark.parametrize(
    "text, refusal, finish_reason, kind",
    [
        ("[]", None, "stop", ANSWER),
        ("[]", "", "stop", ANSWER),
        ("[]", None, "tool_calls", ANSWER),
        ("", None, "stop", EMPTY),
        (None, None, "stop", EMPTY),
        (" \n\t", None, "stop", EMPTY),
        ('[("Ada", "per', None, "length", CUT_OFF),
        (None, None, "length", CUT_OFF),  # it thought too long
        (None, "I can't.", "stop", REFUSAL),
        (None, "I can't", "length", REFUSAL),
        (None, None, "content_filter", REFUSAL),
        ("Half of", None, "content_filter", REFUSAL),
    ],
)
def test_the_kind_of_a_reply(text, refusal, finish_reason, kind):
    assert read_kind(text, refusal=refusal, finish_reason=finish_reason) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_is_given_unless_it_failed_or_was_not_asked_for(kind):
    assert Completion("", kind=kind).given is (kind not in (FAILED, NOT_ASKED))


@pytest.mark.parametrize(
    "response, completion",
    [
        ("[]", Completion("[]")),
        (None, Completion("", finish_reason="none", kind=EMPTY)),
        ("", Completion("", kind=EMPTY)),
        (" \n", Completion(" \n", kind=EMPTY)),
        (Completion("", kind=FAILED), Completion("", kind=FAILED)),
    ],
)
def test_what_any_model_returns_is_a_completion(response, completion):
    assert as_completion(response) == completion


def test_a_completion_reads_as_its_text():
    assert str(Completion("[]", "gpt")) == "[]"
