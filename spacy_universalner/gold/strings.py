"""Mentions as the paper's released scorer compares them (universalner.md, section 5)."""

import re
import string

ARTICLES = re.compile(r"\b(?:an?|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(mention: str) -> str:
    """A mention as the released scorer compares it: lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(ARTICLES.sub(" ", mention.lower().translate(PUNCTUATION)).split())
