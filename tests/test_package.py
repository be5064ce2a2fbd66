"""From a student to a wheel that works in an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from spacy.cli.package import package

from spacy_universalner.assemble import assemble
from spacy_universalner.student import VARIABLE

from .conftest import CONVERSATIONS, ROOT

SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE", "spacy_universalner")
TORCH = "torch==2.13.0"
LOAD_AND_ASK = f"""
import json, sys, spacy, spacy_universalner
doc = spacy.load("en_tiny")({CONVERSATIONS[0].text!r})
ents = [[ent.text, ent.label_] for ent in doc.ents]
print(json.dumps({{"ents": ents, "code": spacy_universalner.__file__, "peft": "peft" in sys.modules}}))
"""


def run(*command: object, cwd: Path, **variables: str) -> str:
    """Run a command that sees nothing of this environment's packages and students. RETURNS (str): what it printed."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", VARIABLE)} | variables
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tuned_student, tmp_path_factory) -> Path:
    """The wheel of a pipeline whose student is no longer where it was."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(tuned_student, folder / "student")
    assemble(ROOT / "configs" / "pipeline.cfg", folder / "student", name="tiny", version="1.2.3").to_disk(
        folder / "nlp"
    )
    (folder / "packages").mkdir()
    package(folder / "nlp", folder / "packages", create_sdist=False, create_wheel=True)
    shutil.rmtree(folder / "student")
    (found,) = folder.glob("packages/*/dist/*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of a new environment with the library and the wheel, and nothing of this one."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "venv", cwd=folder)
    source = folder / "source"  # setuptools builds in the folder it is given
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, source / name)
    found = folder / "venv" / "bin" / "python"
    for what in (TORCH, source, wheel):
        run(found, "-m", "pip", "install", "--quiet", what, cwd=folder)
    return found


@pytest.mark.slow
def test_the_wheel_is_named_after_the_pipeline(wheel):
    assert wheel.name == "en_tiny-1.2.3-py3-none-any.whl"


@pytest.mark.slow
def test_the_installed_pipeline_finds_entities_without_a_network(python, tmp_path):
    said = json.loads(run(python, "-c", LOAD_AND_ASK, cwd=tmp_path, HF_HUB_OFFLINE="1").splitlines()[-1])
    assert ["Ada", "person"] in said["ents"]
    assert Path(said["code"]).is_relative_to(python.parents[1])
    assert not said["peft"]


@pytest.mark.slow
def test_the_installed_student_is_found_by_a_new_pipeline(python, tmp_path):
    """Without a model in the config and in the environment, the default engine takes the installed one."""
    code = "from spacy_universalner.student import find_student; print(find_student(None))"
    found = Path(run(python, "-c", code, cwd=tmp_path).strip())
    assert found.parts[-4:] == ("en_tiny", "en_tiny-1.2.3", "universal_ner", "student")
