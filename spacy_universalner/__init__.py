"""Open named entity recognition for spaCy, by targeted distillation."""

from .about import __version__

__all__ = ["__version__"]
