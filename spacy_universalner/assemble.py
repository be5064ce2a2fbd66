"""A spaCy pipeline around a student."""

from pathlib import Path

from spacy.language import Language
from spacy.util import load_model_from_config

from .card.student import describe_pipeline, tell_training
from .component import NAME
from .errors import Errors, UniversalNERError
from .schemas import read_config
from .student import check_manifest


def assemble(config: Path, student: Path, *, name: str, version: str) -> Language:
    """Build the pipeline of a config file around a student.

    config (Path): a spaCy pipeline config with a `universal_ner` component that names no model.
    student (Path): the folder of the student; `to_disk` copies it into the pipeline.
    name (str): name of the pipeline.
    version (str): version of the pipeline.
    RAISES (UniversalNERError): no such config, a config spaCy refuses, or files of the student that are not as its
        manifest says.
    """
    described = read_config(config)
    manifest = check_manifest(student)
    try:
        nlp = load_model_from_config(described, auto_fill=True)
    except ValueError as err:
        raise UniversalNERError(Errors.U010.format(path=config, problems=err)) from err
    nlp.get_pipe(NAME).engine.model = str(student)
    nlp.meta.update(
        {
            "name": name,
            "version": version,
            **describe_pipeline(manifest),
            "requirements": ["spacy-universalner>=0.1.0"],
            "student": {
                **{key: manifest.get(key) for key in ("base", "method", "template")},
                "training": tell_training(manifest),
            },
        }
    )
    return nlp
