"""What may import what: the layers of the design, and which modules do without the heavy libraries."""

import ast
import subprocess
import sys
import textwrap
from importlib.util import resolve_name
from pathlib import Path

import pytest

import spacy_universalner

PACKAGE = Path(spacy_universalner.__file__).parent
LAYERS = (
    {"errors", "records", "about", "stage", "progress", "distributed"},
    {
        "registry",
        "schemas",
        "prompts",
        "parsing",
        "definitions",
        "align",
        "chunking",
        "encoding",
        "scoring",
        "copying",
        "windows",
        "labels",
        "packing",
        "remote",
        "student",
        "base",
        "choices",
        "hub",
        "gold",
    },
    {"corpus", "teacher"},
    {"provenance", "card"},
    {
        "hardware",
        "layout",
        "causal",
        "asking",
        "attention",
        "tree",
        "quantization",
        "answering",
        "whole",
        "decoding",
        "extraction",
        "training",
        "engines",
    },
    {"component", "annotation", "assemble", "systems"},
    {"evaluation", "report", "bulk"},
    {"ablation", "tuning"},
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
HEAVY = ("torch", "transformers", "peft", "vllm", "ray", "openai")
# Stages know the records they read and write, never another stage of their own layer.
STAGES = {"corpus", "teacher", "training", "engines", "evaluation", "report", "card", "bulk", "systems"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(name: str, path: Path) -> set[str]:
    """The modules of this package that one of them imports, anywhere in its text."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            inner = {f"{source}.{alias.name}" for alias in node.names} & set(MODULES)
            found.update(inner or {source})
    return {module for module in found if module.partition(".")[0] == PACKAGE.name}


def unit(module: str) -> str:
    """The part of the package a module belongs to: its stage's folder, or itself; "" for the package."""
    return (module.split(".") + [""])[1]


IMPORTS = [(name, target) for name, path in MODULES.items() for target in sorted(imported(name, path))]


@pytest.mark.parametrize("name", [name for name in MODULES if unit(name)])
def test_every_module_has_a_layer(name):
    assert unit(name) in LAYER


@pytest.mark.parametrize(("name", "target"), IMPORTS, ids=[f"{a}-{b}" for a, b in IMPORTS])
def test_imports_go_downwards(name, target):
    source, reached = unit(name), unit(target)
    if not source:
        assert reached == "about", "the package itself imports its version only"
    elif source != reached:
        depth = LAYER[source] - LAYER[reached]
        assert depth > 0 or (depth == 0 and reached not in STAGES), f"{source} imports {reached}"


def test_the_imports_are_found():
    assert ("spacy_universalner.component", "spacy_universalner.engines") in IMPORTS
    assert ("spacy_universalner.engines", "spacy_universalner.engines.transformers") in IMPORTS
    assert ("spacy_universalner.corpus.filtering", "spacy_universalner.align") in IMPORTS


def run_without_heavy(code: str) -> subprocess.CompletedProcess[str]:
    block = f"import sys\nsys.modules.update(dict.fromkeys({HEAVY}))\n"  # None there makes an import fail
    command = [sys.executable, "-c", block + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_heavy_libraries_are_blocked_here():
    done = run_without_heavy("import spacy_universalner.hardware")
    assert done.returncode == 1
    assert "ModuleNotFoundError: import of torch halted" in done.stderr


def test_modules_import_without_heavy_libraries():
    exempt = {
        f"spacy_universalner.{name}"
        for name in (
            "hardware",
            "layout",
            "ablation",
            "tuning",
            "causal",
            "attention",
            "tree",
            "quantization",
            "decoding",
            "extraction",
            "engines.seq2seq",
            "engines.transformers",
            "systems.pace",
            "teacher.pace",
            "teacher.session",
        )
    }
    names = [name for name in MODULES if name not in exempt and unit(name) != "training"]
    done = run_without_heavy(f"from importlib import import_module\nfor name in {names}: import_module(name)")
    assert done.returncode == 0, done.stderr


def test_a_pipeline_with_another_engine_needs_no_heavy_library():
    done = run_without_heavy(
        """
        import spacy_universalner
        import spacy

        engine = {"@universal_ner_engines": "universal_ner.Replay.v1", "answers": {"Ada lives.": {"person": ["Ada"]}}}
        nlp = spacy.blank("en")
        nlp.add_pipe("universal_ner", config={"labels": ["person"], "engine": engine})
        print([(ent.text, ent.label_) for ent in nlp("Ada lives.").ents])
        """
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[('Ada', 'person')]"), done.stderr
