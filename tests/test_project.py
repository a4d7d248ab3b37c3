"""The project as a whole: what imports what, what README promises, what a wheel holds."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest

import numzero
from tests import warm
from tests.shipped import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "numzero"
README = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
WORDS = "\n".join(page.read_text(encoding="utf-8").replace("\\\n", " ") for page in PAGES)
SOURCES = sorted([ROOT / "cli.py", *PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])


def module_name(path: Path) -> str:
    """`numzero/search/tree.py` is `numzero.search.tree`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def display_order(name: str) -> tuple[int, str]:
    """The order of ruff's RUF022: constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def run_python(*arguments: str, python: Path | str = sys.executable, cwd: Path = ROOT) -> str:
    """Run a new interpreter and return what it printed; a failure shows both its streams."""
    done = subprocess.run([str(python), *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{arguments} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def loaded_by(module: str, suspects: list[str]) -> list[str]:
    """Which of the suspects a fresh interpreter has loaded after importing the module."""
    code = f"import json, sys, {module}; print(json.dumps([s for s in {suspects!r} if s in sys.modules]))"
    loaded = json.loads(run_python("-c", code))
    assert isinstance(loaded, list)
    return loaded


ADAPTERS = {
    "minari": "minari",
    "openspiel": "pyspiel",
    "openspiel_backgammon": "pyspiel",
    "openspiel_search": "pyspiel",
    "pettingzoo": "pettingzoo",
}
MODULES = sorted(module_name(path) for path in PACKAGE.rglob("*.py"))
SUBCOMMANDS = sorted(set(re.findall(r"python cli\.py ([a-z][a-z-]*)", WORDS)))

GROUPS = ("bench", "store")
"""Subcommands whose first word is another."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_compiles(path: Path) -> None:
    """Each Python file compiles, with warnings of the compiler as errors."""
    compile(path.read_text(encoding="utf-8"), str(path), "exec")


LIBRARIES = {f"numzero.games.adapters.{module}": name for module, name in ADAPTERS.items()}
LIBRARIES |= {f"numzero.runtime.ray.{name}": "ray" for name in ("actors", "jobs", "library", "runtime")}
"""What is imported by one module alone, and need not be installed."""


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name: str) -> None:
    """Each module can be imported on its own name, and what it lists in __all__ exists, once, in order."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert [name for name in public if not hasattr(module, name)] == []
    assert list(public) == sorted(set(public), key=display_order)


def test_every_file_is_in_a_package() -> None:
    """No folder lacks its __init__.py: such a folder imports from a checkout and is missing from a wheel."""

    def fail(name: str) -> None:
        raise AssertionError(f"{name} could not be walked")

    found = [module.name for module in pkgutil.walk_packages(numzero.__path__, "numzero.", onerror=fail)]
    assert sorted(["numzero", *found]) == MODULES


@pytest.mark.parametrize("face", ["numzero", "numzero.agent", "numzero.inference", "numzero.search"])
def test_embedding_loads_nothing_heavy(face: str) -> None:
    """What an app imports never brings in the libraries of training or of the command line."""
    assert loaded_by(face, ["torch", "gymnasium", "click", "ray", "rich", "onnx"]) == []


@pytest.mark.parametrize("role", ["numzero.commands", "numzero.runtime", "numzero.training.roles.selfplay"])
def test_actors_and_help_do_without_torch(role: str) -> None:
    """Self-play processes and `--help` start without paying for torch."""
    assert loaded_by(role, ["torch"]) == []


def test_versions_agree() -> None:
    """pyproject.toml is the home of the version; what is installed and what is imported say the same."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert importlib.metadata.version("numzero") == declared, "installed long ago? Run: pip install -e ."
    assert numzero.__version__ == declared


def test_readme_has_one_test_command() -> None:
    """What .ci/run takes from README is one line, in a fence, between the markers."""
    found = re.findall(r"^<!-- test-command -->\n```sh\n(.+)\n```\n<!-- /test-command -->$", README, re.MULTILINE)
    assert len(found) == 1
    assert found[0].endswith("python -m pytest")


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_the_pages_commands_exist(subcommand: str) -> None:
    """Every subcommand that README or docs name has help, and the help knows every option that they give it.

    What stands in quotes is one word: a program's own options may be in there.
    """
    shown = warm.run(subcommand, "--help", check=True).stdout
    for arguments in re.findall(rf"python cli\.py {subcommand}\b([^`&|;#\n]*)", WORDS):
        if subcommand in GROUPS and arguments.strip():
            shown = warm.run(subcommand, arguments.split()[0], "--help", check=True).stdout
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", re.sub(r'"[^"]*"', "", arguments)):
            assert re.search(rf"{option}\b(?!-)", shown), f"{subcommand} has no {option}:\n{shown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    """The Python blocks of README and of each page in docs run from top to bottom in one interpreter."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    done = warm.run(code="\n".join(blocks))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_other_blocks_and_no_broken_link(page: Path) -> None:
    """What a block shows is run here, as Python or as commands; what a link names in this repository is there."""
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"^```(\w*)$", text, re.MULTILINE)) <= {"", "python", "sh"}
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


EMBEDDING = """
import sys
import numpy as np
from numzero import Agent
assert not {"torch", "gymnasium", "click"} & set(sys.modules)
agent = Agent.load("models/tictactoe")
board = np.zeros((3, 3, 3), np.uint8)
board[2] = 1
decision = agent.act(board, np.ones(9, bool), simulations=16)
batch = agent.act_batch(np.stack([board, board]), simulations=16)
print(decision.action in range(9), batch.visit_counts.sum(axis=1).tolist() == [16, 16])
"""


@pytest.mark.slow
def test_what_is_released_holds_everything_and_needs_no_torch(tmp_path: Path) -> None:
    """A wheel made of the sdist has every module, preset and marker of the checkout, and plays without any extra."""
    source = tmp_path / "source"  # a copy: building leaves folders behind that would feed the next build
    source.mkdir()
    for name in ("CHANGELOG.md", "LICENSE", "README.md", "cli.py", "mkdocs.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    for name in ("docs", "models", "numzero", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run_python("-m", "pip", "install", "--quiet", "hatchling>=1.27", python=python)
    run_python("-m", "hatchling", "build", "--target", "sdist", python=python, cwd=source)
    (sdist,) = (source / "dist").glob("numzero-*.tar.gz")
    with tarfile.open(sdist) as packed:
        held = {Path(*Path(name).parts[1:]) for name in packed.getnames()}
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()} - {sdist.relative_to(source)}
    assert sorted(map(str, wanted - held)) == []
    run_python("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(sdist), python=python)
    (wheel,) = tmp_path.glob("numzero-*.whl")
    assert wheel.stat().st_size < 6 * 2**20  # 5 before Connect Four had 64 channels, which are 2 MB
    run_python("-m", "pip", "install", "--quiet", str(wheel), python=python)

    code = "import pathlib, numzero, numzero.agent, numzero.commands; print(pathlib.Path(numzero.__file__).parent)"
    installed = Path(run_python("-c", code, python=python, cwd=tmp_path).strip())
    assert tmp_path in installed.parents
    files = sorted(str(path.relative_to(source)) for path in (source / "numzero").rglob("*") if path.is_file())
    agents = [*map("models/{}".format, SHIPPED), "models/hosts/web"]
    files += [f"numzero/{path.relative_to(source)}" for each in agents for path in (source / each).iterdir()]
    assert not (installed.parent / "models").exists()
    assert [path for path in files if not (installed.parent / path).is_file()] == []
    listed = run_python("-m", "pip", "list", python=python)
    assert "torch" not in listed
    assert "gymnasium" not in listed

    assert run_python("-c", EMBEDDING, python=python, cwd=tmp_path).splitlines()[-1] == "True True"

    def program(*words: str) -> str:
        return run_python(str(python.parent / "numzero"), *words, python=python, cwd=tmp_path)

    assert program("--version").strip() == f"numzero, version {numzero.__version__}"
    assert program("describe", "tictactoe").startswith("tictactoe: an agent of version")
    assert json.loads(program("evaluate", "models/tictactoe", "--games", "4", "--json"))["losses"] == 0
    assert "A draw." in program("play", "tictactoe", "--watch")
    told = json.loads(program("selfplay", "--workers", "2", "--games", "8", "--simulations", "2", "--json"))
    assert told["stored"] >= 8
