"""The project file: what depends on what, and that its commands hold no more than a script and its options."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from weasel.util import load_project_config

ROOT = Path(__file__).parents[1]
PROJECT = load_project_config(ROOT)
COMMANDS = {command["name"]: command for command in PROJECT["commands"]}
ALL = ["fetch", "sample", "annotate", "filter", "convert", "train", "assemble", "evaluate", "package", "report"]
RELEASED = ["fetch", "import", "train", "assemble", "evaluate", "package"]
SUPERVISED = ["fetch", "supervise", "train-sup", "assemble", "evaluate", "package"]
BESIDE = ["shrink", "benchmark", "ablate", "import", "export", "supervise", "train-sup", "extract", "baseline"]
GOLD = {"vars.conversations": "supervised", "vars.trained": "training/supervised/student"}
# A workflow, how it is run, and the files its user brings.
WORKFLOWS = {
    "all": (ALL, {}, set()),
    "released": (RELEASED, {"vars.released": "my.json", "vars.conversations": "released"}, {"my.json"}),
    "supervised": (SUPERVISED, GOLD, set()),
}
BROUGHT = {PROJECT["vars"]["released"]}
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "scripts").glob("*.py"))
LINES = [(name, line) for name, command in COMMANDS.items() for line in command["script"]]
LISTED = [(name, path) for name, command in COMMANDS.items() for path in command["deps"] + command["outputs"]]


@pytest.fixture(scope="module")
def kept():
    """The files git keeps or would keep if they were added: those that are there and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {path for path in done.stdout.splitlines() if (ROOT / path).is_file()}


def test_the_workflows_run_the_stages_in_order():
    assert PROJECT["workflows"] == {name: names for name, (names, _, _) in WORKFLOWS.items()}
    assert list(COMMANDS) == [*ALL, *BESIDE]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does(name):
    assert set(COMMANDS[name]) >= {"name", "help", "script", "deps", "outputs"}
    assert COMMANDS[name]["help"] and COMMANDS[name]["script"] and COMMANDS[name]["outputs"]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_dependencies_are_kept_in_git_or_written_before(workflow, kept):
    names, overrides, brought = WORKFLOWS[workflow]
    commands = {command["name"]: command for command in load_project_config(ROOT, overrides=overrides)["commands"]}
    there = kept | brought
    for name in names:
        assert [path for path in commands[name]["deps"] if path not in there] == []
        there |= set(commands[name]["outputs"])


# The settings of supervised tuning: the commands run before, and the file that stands for what they add.
SETTINGS = {
    "alone": (["fetch", "supervise"], "training/base.json"),
    "distilled": ([*ALL, "supervise"], "training/student/manifest.json"),
    "mixed": ([*ALL, "supervise"], "corpus/train.jsonl"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_supervised_tuning_depends_on_what_it_starts_from(setting, kept):
    before, distilled = SETTINGS[setting]
    overrides = {"vars.setting": setting, "vars.distilled": distilled}
    commands = {command["name"]: command for command in load_project_config(ROOT, overrides=overrides)["commands"]}
    written = {path for name in before for path in commands[name]["outputs"]}
    assert distilled in commands["train-sup"]["deps"]
    assert [path for path in commands["train-sup"]["deps"] if path not in kept | written] == []


@pytest.mark.parametrize("name", BESIDE)
def test_a_command_beside_the_workflow_needs_nothing_but_its_outputs_and_what_is_brought(name, kept):
    before = [*ALL, *BESIDE[: BESIDE.index(name)]]
    written = {path for stage in before for path in COMMANDS[stage]["outputs"]}
    assert [path for path in COMMANDS[name]["deps"] if path not in kept | written | BROUGHT] == []


def test_the_workflow_uses_no_output_of_a_command_beside_it():
    beside = {path for name in BESIDE for path in COMMANDS[name]["outputs"]} | BROUGHT
    assert [path for name in ALL for path in COMMANDS[name]["deps"] if path in beside] == []


def test_no_dependency_is_empty():
    assert all(path for _, path in LISTED), "weasel takes the whole folder for it, and hashes that"


def test_what_a_user_brings_is_not_kept_in_git(kept):
    assert not BROUGHT & kept
    ignored = subprocess.run(["git", "check-ignore", *BROUGHT], cwd=ROOT, capture_output=True, text=True)
    assert set(ignored.stdout.split()) == BROUGHT


@pytest.mark.parametrize("name", COMMANDS)
def test_outputs_are_written_by_one_command_and_not_kept_in_git(name, kept):
    others = {path for other, command in COMMANDS.items() if other != name for path in command["outputs"]}
    assert [path for path in COMMANDS[name]["outputs"] if path in others | kept] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_files_are_in_the_projects_directories(name):
    places = {*PROJECT["directories"], "spacy_universalner"}
    listed = COMMANDS[name]["deps"] + COMMANDS[name]["outputs"]
    assert [path for path in listed if Path(path).parts[0] not in places] == []


@pytest.mark.parametrize(("name", "line"), LINES, ids=[name for name, _ in LINES])
def test_scripts_and_configs_of_a_line_are_dependencies(name, line):
    named = re.findall(r"scripts/\S+\.py|\S+\.cfg", line)
    assert named
    assert [path for path in named if path not in COMMANDS[name]["deps"]] == []


def test_every_script_has_its_command():
    named = [f"scripts/{name.replace('-', '_')}.py" for name in COMMANDS]
    assert [path for name in COMMANDS for path in COMMANDS[name]["deps"] if path.startswith("scripts/")] == named
    assert SCRIPTS == sorted(named)


@pytest.mark.parametrize(("name", "path"), LISTED, ids=[f"{name}-{path}" for name, path in LISTED])
def test_weights_are_not_listed(name, path):
    assert not path.endswith((".safetensors", ".bin", ".gguf", ".whl")), "weasel reads a listed file whole to hash it"


# Devices, variables of the environment and keys have no place in a line.
FORBIDDEN = re.compile(
    r"device|cuda|\bmps\b|\bcpu\b|gpu|key|secret|\benv\b|\$|`|(?-i:\b[A-Z][A-Z0-9_]*=)", re.IGNORECASE
)


@pytest.mark.parametrize(("name", "line"), LINES, ids=[name for name, _ in LINES])
def test_a_line_is_a_script_and_its_options(name, line):
    assert re.fullmatch(r"python scripts/\w+\.py( --[a-z-]+ ('[^']*'|[^\s-]\S*))*", line)
    assert not FORBIDDEN.search(line)


def test_nothing_comes_from_the_environment():
    text = (ROOT / "project.yml").read_text(encoding="utf8")
    assert "env" not in yaml.safe_load(text)
    assert "${env" not in text


MISUSES = (
    "CUDA_VISIBLE_DEVICES=0 python x.py",
    "python x.py --device cuda",
    "python x.py --api-key $KEY",
    "A=1 python",
)


@pytest.mark.parametrize("line", MISUSES)
def test_misuses_are_found(line):
    assert FORBIDDEN.search(line)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_answers_help(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert ended.value.code == 0
    assert f"Usage: {Path(script).name} [OPTIONS]" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "line"), LINES, ids=[name for name, _ in LINES])
def test_the_options_of_a_line_exist(name, line, monkeypatch, capsys):
    script = re.findall(r"scripts/\S+\.py", line)[0]
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / script), run_name="__main__")
    said = capsys.readouterr().out
    assert [option for option in re.findall(r"--[a-z-]+", line) if f"{option} " not in said] == []
