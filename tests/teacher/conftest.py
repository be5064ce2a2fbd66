"""Chat models that ask a stand-in server."""

import json

import pytest

from spacy_universalner.teacher.chat import make_chat_model
from tests.chat_server import MODEL, ChatServer

SECRET = "sk-secret-4711"
PRICES = [{"model": MODEL, "input": 1000.0, "output": 2000.0}]


@pytest.fixture
def server():
    with ChatServer() as server:
        yield server


@pytest.fixture
def make(server, tmp_path):
    """Makes models that share a store, as the commands of a user do one after the other; they are closed at the end."""
    made = []

    def make(**changes):
        for model in made:
            model.close()
        options = {"name": MODEL, "store": str(tmp_path / "out" / "store.jsonl"), "base_url": server.base_url}
        model = make_chat_model(**{**options, "key_variable": None, "max_tries": 3, **changes})
        made.append(model)
        return model

    yield make
    for model in made:
        model.close()


def rows(model):
    """The rows of a model's store."""
    return [json.loads(line) for line in model.path.read_text(encoding="utf8").splitlines()]
