"""The card of a student, alone or in its pipeline: what it is, how it was made, what it scores, under which terms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..corpus.origin import NOT_STATED
from ..provenance import NOT_KNOWN, choose_license, find_base, list_licenses
from ..records import atomic_write, read_json
from ..student import write_manifest
from .markdown import render

CARD = "README.md"
PARTS = ("train", "dev")
HUB = "https://huggingface.co/"


def write_student(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the card of a student and then its manifest, which sums the card up with the other files.

    folder (Path): with the weights, the tokenizer and the template in place.
    facts (Mapping): what the manifest is to say.
    RETURNS (dict): the manifest.
    """
    write_card(folder, render_student_card(facts))
    return write_manifest(folder, facts)


def write_card(folder: Path, card: str) -> None:
    """Write a card where the hub, and `spacy package`, look for it."""
    with atomic_write(folder / CARD) as file:
        file.write(card)


def read_scores(path: Path) -> dict[str, Any] | None:
    """A report of the evaluation, None where there is none."""
    return read_json(path) if path.is_file() else None


def render_student_card(
    manifest: Mapping[str, Any],
    *,
    pipeline: Mapping[str, Any] | None = None,
    dev: Mapping[str, Any] | None = None,
    zero_shot: Mapping[str, Any] | None = None,
) -> str:
    """The card of a student as the hub reads it. What the manifest does not tell is said to be unknown.

    manifest (Mapping): of the student.
    pipeline (Mapping | None): the meta.json of the pipeline that carries it; None for the student by itself.
    dev (Mapping | None): scores of the pipeline on the held-out passages.
    zero_shot (Mapping | None): its scores on the zero-shot sets.
    RETURNS (str): Markdown with a YAML header.
    """
    base = manifest.get("base") or {}
    data = manifest.get("data") or {}
    licenses = list_terms(manifest)
    known = find_base(base)
    sets = (zero_shot or {}).get("sets", {})
    return render(
        "student_card.md.jinja",
        name=_name(manifest, pipeline),
        base=base.get("name") or NOT_KNOWN,
        source=base.get("source") or NOT_KNOWN,
        hub=known[0] if known else None,
        method=manifest.get("method") or NOT_KNOWN,
        template=manifest.get("template") or NOT_KNOWN,
        student=base.get("student"),
        pipeline=pipeline,
        license=choose_license(licenses),
        licenses=licenses,
        languages=_stated(data, "language"),
        datasets=_stated(data, "dataset"),
        origins=data.get("origins", [None]),
        counts={part: data[part] for part in PARTS if part in data},
        files=data.get("files", {}),
        settings=_list_settings(manifest.get("settings") or {}),
        training=tell_training(manifest),
        difference=manifest.get("difference"),
        versions={name: value for name, value in manifest.get("versions", {}).items() if value},
        commit=manifest.get("git_commit"),
        dev=dev,
        sets={**sets, "mean": zero_shot["mean"]} if zero_shot and sets else {},
        limit=(zero_shot or {}).get("limit"),
    )


def tell_training(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of the training. Of a student that was made small, dev scores are those of its own weights,
    which were taken after it was trained further; None where it was not."""
    training = dict(manifest.get("training") or {})
    if difference := manifest.get("difference"):
        last = difference.get("recovery", {}).get("training", {})
        training.update({key: last.get(key) for key in ("dev_loss", "dev_f1")})
    return training


def list_terms(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """The terms a student inherits; of one whose manifest has none, what can be told from its base."""
    return list(manifest.get("licenses") or []) or list_licenses(manifest, [None])


def describe_pipeline(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What spaCy's own meta.json says of the student in a pipeline: description, license, sources."""
    base, licenses = manifest.get("base") or {}, list_terms(manifest)
    known = find_base(base)
    sources = [{"name": entry["of"], "license": entry["license"]} for entry in licenses]
    for source in sources:
        if known and source["name"] == f"base {base['name']}":
            source["url"] = HUB + known[0]
    license = choose_license(licenses)
    tuned = base.get("name") or "a language model"
    return {
        "description": f"Open named entity recognition: {tuned}, asked for types by name",
        "license": license if license != "other" else f"other: see Licences in {CARD}",
        "sources": sources,
    }


def _name(manifest: Mapping[str, Any], pipeline: Mapping[str, Any] | None) -> str:
    if pipeline:
        return f"{pipeline['lang']}_{pipeline['name']}"
    return f"{(manifest.get('base') or {}).get('name') or 'student'}, tuned for open named entity recognition"


def _stated(data: Mapping[str, Any], key: str) -> list[str]:
    """What the origins state under a key, each once; nothing if one of them states nothing."""
    found = [(origin or {}).get(key, NOT_STATED) for origin in data.get("origins", [])]
    return [] if NOT_STATED in found else list(dict.fromkeys(found))


def _list_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Settings, nested ones under dotted names."""
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        found += _list_settings(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return found
