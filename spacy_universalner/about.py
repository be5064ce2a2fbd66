__title__ = "spacy-universalner"
__version__ = "0.1.0"
