"""Imports point one way, and the command line starts without the heavy libraries."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import medssl
from medssl.data.layout import Layout
from medssl.methods.registry import method_names
from medssl.registry import FAMILIES, LAYOUTS

ROOT = Path(medssl.__file__).parent

LEVELS = {
    "cli": 4,
    "cli_data": 4,
    "cli_results": 4,
    "cli_run": 4,
    "cli_study": 4,
    "cli_encoders": 4,
    "__main__": 4,
    "families": 3,
    "cli_serve": 4,
    "serve": 3,
    "completion": 4,
    "pipeline": 2,
    "methods": 1,
    "train": 1,
    "infer": 1,
    "evaluate": 1,
    "export": 1,
    "data": 0,
    "networks": 0,
    "transforms": 0,
    "settings": 0,
    "encoder_source": 0,
    "overrides": 0,
    "named_files": 0,
    "atomic": -1,
    "device": -1,
    "stop": -1,
    "errors": -1,
    "section": -1,
    "mistakes": -1,
    "wanted": -1,
    "yaml_keys": -1,
    "yaml_text": -1,
    "names": -1,
    "keyed": -1,
    "checksum": -1,
    "discreet": -1,
    "registry": -1,
    "environment": -1,
}
FREE = {"medssl.methods.settings", "medssl"}
"""Pure settings, which every part may read."""

HEAVY = (
    *("torch", "monai", "mlflow", "matplotlib", "pandas", "scipy", "torchmetrics"),
    *("SimpleITK", "pydicom"),
)


def is_for_types(node: ast.AST) -> bool:
    """Whether a part of a file is never carried out: `if TYPE_CHECKING`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def parts_of(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for what is there for types alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not is_for_types(child):
            yield from parts_of(child)


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Modules of medssl that a file imports, at its top or inside functions."""
    found: list[str] = []
    for node in parts_of(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("medssl")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("medssl"):
            found.append(node.module or "")
    return tuple(found)


def test_every_part_has_its_level() -> None:
    parts = {
        path.stem for path in ROOT.iterdir() if path.name not in {"__init__.py", "__pycache__"}
    }
    assert parts - {"py"} <= set(LEVELS)


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_imports_point_one_way(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imported(path):
        if module not in FREE and part != "__init__":
            target = module.split(".")[1]
            assert LEVELS[target] <= LEVELS[part], f"{part} must not import {module}"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_file_imports_itself_through_others() -> None:
    """Inside functions counts too: a circle there is a circle that has been hidden."""
    modules = {module_of(path): path for path in ROOT.rglob("*.py")}
    needs = {
        name: {found for found in imported(path) if found in modules and found != name}
        for name, path in modules.items()
    }
    waiting = dict(needs)
    while free := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert waiting == {}, "these import each other in a circle, or one that does"


def words_in(path: Path) -> Iterator[str]:
    """Words of all texts of a file, docstrings too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\w+", node.value)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pipeline").rglob("*.py")), ids=lambda path: path.name
)
def test_the_engine_names_no_family_no_method_and_no_layout(path: Path) -> None:
    assert not [module for module in imported(path) if "families" in module]
    layouts = {name: LAYOUTS.find(name, Layout) for name in LAYOUTS.names()}
    contents = {layout.content for layout in layouts.values()}
    # A section of pipelines is called as the family is, and two layouts as everyday things are.
    everyday = {"pretrain", "table", "folders"}
    known = {*FAMILIES.names(), *method_names(), *layouts, *contents} - everyday
    assert not known & set(words_in(path))


@pytest.mark.parametrize(
    "path",
    sorted(
        path for part in ("pipeline/*", "families/*/*", "cli*") for path in ROOT.glob(f"{part}.py")
    ),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nobody_asks_which_one_it_is(path: Path) -> None:
    """A family, a layout or a method says what it needs; nobody goes by its name or its type."""
    for module in imported(path):
        if module.startswith("medssl.methods."):
            assert module.rpartition(".")[2] not in method_names()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            known = [part for side in sides for part in ast.walk(side)]
            if any(isinstance(getattr(part, "value", None), str) for part in known):
                for side in map(ast.unparse, sides):
                    assert not re.search(r"(layout\.kind|family(\.name)?|method\.name)$", side)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "hippocampus", "trian.steps=5"], ["keys", "RandAffined"]],
)
def test_a_short_command_does_not_look_for_garbage_nor_twice_for_packages(arguments) -> None:
    """Each took a tenth or more of such a command: what it makes is modules and classes."""
    code = (
        "import atexit, gc, importlib.metadata as packages, sys\n"
        "whole, reads = packages.entry_points, []\n"
        "packages.entry_points = lambda **of: reads.append(of.get('group')) or whole(**of)\n"
        "before = sum(one['collections'] for one in gc.get_stats())\n"
        "now = lambda: sum(one['collections'] for one in gc.get_stats()) - before\n"
        "atexit.register(lambda: print('DID', now(), gc.get_freeze_count() > 1000, reads))\n"
        f"sys.argv = ['medssl', *{arguments!r}]\n"
        "from medssl.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    collections, frozen, *reads = done.stdout.splitlines()[-1].split(maxsplit=3)[1:]
    assert int(collections) <= 3, done.stderr  # those of Python's own start
    assert frozen == "True"
    assert reads[0] in ("[]", "[None]", "['pydantic']", "['pydantic', None]")


def test_after_the_first_collection_garbage_is_looked_for_as_usual() -> None:
    code = (
        "import gc, medssl.__main__ as start\n"
        "usual = gc.get_threshold()\n"
        "def work():\n"
        "    assert gc.get_threshold()[0] == start.START\n"
        "    many = [[] for _ in range(2 * start.START)]\n"
        "    assert gc.get_threshold() == usual\n"
        "import medssl.cli\n"
        "medssl.cli.main = work\n"
        "start.main()\n"
        "assert gc.get_freeze_count() == 0 and start._as_usual not in gc.callbacks\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LOADED = """
import gc, json, os, sys
gc.disable()  # as `medssl` does until it has made many objects
from medssl.cli import main
heavy, commands = json.loads(sys.argv[1])
for out, err, arguments, variables in commands:
    if not os.fork():
        for number, file in enumerate((out, err), start=1):
            os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY), number)
        os.environ.update(variables)
        sys.argv = ["medssl", *arguments]
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        print("LOADED", code, *[one for one in heavy if one in sys.modules])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.wait()
"""
"""Forks, so that the command line is imported once: a process for each command takes twice that."""


def loaded(
    folder: Path, *commands: tuple[list[str], dict[str, str]]
) -> list[tuple[int, set[str], str]]:
    """Exit code, heavy modules loaded, and standard error of commands, each in its own process.

    Args:
        commands: arguments and environment variables of each.
    """
    files = [
        (folder / f"{number}.out", folder / f"{number}.err") for number in range(len(commands))
    ]
    given = [[*map(str, file), *command] for file, command in zip(files, commands, strict=True)]
    subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps([HEAVY, given])],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    found = []
    for out, err in files:
        ended, *heavy = out.read_text().splitlines()[-1].split()[1:]
        found.append((int(ended), set(heavy), err.read_text()))
    return found


LIGHT = [
    (["--help"], 0),
    (["--version"], 0),
    (["train", "--help"], 0),
    (["methods"], 0),
    (["keys"], 0),
    (["keys", "train"], 0),
    (["keys", "segment", "--schema"], 0),
    (["keys", "trian"], 2),
    (["trian"], 2),
    (["run", "hippocampus", "trian.steps=5"], 2),
    (["run", "hippocampus", "preprocess=RandFlpd"], 2),
    (["run", "hippocampus", "augment=[{RandFlpd: {}}]"], 2),
    (["run", "hipocampus"], 2),
    (["study", "hippocampus", "--methods", "tracco"], 2),
    (["compare", "nothing_ran"], 2),
    (["predict", "nowhere", "x.svs", "--out", "y"], 2),
    (["run", "mil", "method=snufy"], 2),
    (["run", "mil", "method=tracoco"], 2),
    (["run", "hippocampus", "method=abmil"], 2),
    (["run", "brain_cohort", "trian.steps=5"], 2),
    (["run", "lgg_slices", "trian.steps=5"], 2),
    (["pretrain", "hippocampus"], 2),
    (["pretrain", "ms_lesions", "trian.steps=5"], 2),
    (["study", "ms_lesions_study", "--only", "arm=mcc"], 2),
    (["compare", "mil"], 2),
    (["run", "knee", "split.label=5"], 2),
    (["run", "knee", "method=tracoco"], 2),
    (["train", "knee", "preprocess.joint.field=110"], 2),
    (["run", "knee", "evaluate.metrics=[torchmetrics:CohenKapa]"], 2),
    (["run", "hippocampus", "evaluate.metrics=[torchmetrics:MeanIoU]", "trian.steps=5"], 2),
    (["compare", "knee"], 2),
]
"""Commands that need nothing heavy, and their exit codes."""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, set[str], str]]:
    """What `loaded` finds of each of `LIGHT`."""
    return loaded(tmp_path_factory.mktemp("light"), *((arguments, {}) for arguments, _ in LIGHT))


@pytest.mark.parametrize("number", range(len(LIGHT)), ids=[" ".join(one) for one, _ in LIGHT])
def test_help_and_mistakes_load_nothing_heavy(
    light: list[tuple[int, set[str], str]], number: int
) -> None:
    found, heavy, error = light[number]
    assert (found, heavy) == (LIGHT[number][1], set())
    assert "Traceback" not in error


@pytest.mark.parametrize("verb", ["run", "train", "pretrain", "plan"])
def test_a_wrong_key_is_told_before_the_classes_of_sections_are_made(verb: str) -> None:
    """These are half of what such a command would take."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('MADE', 'medssl.settings' in sys.modules))\n"
        f"sys.argv = ['medssl', {verb!r}, 'hippocampus', 'trian.steps=5']\n"
        "from medssl.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[-1]) == (2, "False")
    assert done.stderr == "medssl: unknown key 'trian'; did you mean 'train'?\n"


@pytest.mark.parametrize("line", ["medssl run hip", "medssl data check hip", "medssl predict r"])
def test_completion_loads_nothing_heavy(line: str, tmp_path: Path) -> None:
    word = str(len(line.split()) - 1)
    asked = {"_MEDSSL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": word}
    assert loaded(tmp_path, ([], asked)) == [(0, set(), "")]


PICKLING = ("_object", "_object_list")
"""Functions of torch.distributed that pickle what they send."""


def test_a_prediction_does_not_load_what_compiles() -> None:
    """torch's compiler takes a second of CPU time, and a training alone has use for it."""
    code = (
        "import sys, medssl.families.segment.asked, medssl.families.segment.model; "
        "import medssl.networks.shipped, medssl.networks.vnet, medssl.networks.encoder_decoder; "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_that_was_pickled_is_ever_run() -> None:
    """A file that somebody sends may hold data, and no code."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = {alias.name for alias in node.names}
                module = node.module if isinstance(node, ast.ImportFrom) else None
                assert module != "pickle" or names == {"UnpicklingError"}, path
                assert not names & {"pickle", "marshal", "shelve", "dill", "joblib"}, path
            if isinstance(node, ast.Call):
                given = {key.arg: ast.unparse(key.value) for key in node.keywords}
                assert given.get("allow_pickle", "False") == "False", path
                called = ast.unparse(node.func)
                assert not (called.startswith("dist.") and called.endswith(PICKLING)), path
                if ast.unparse(node.func) == "torch.load":
                    assert given.get("weights_only") == "True", path
                if ast.unparse(node.func).startswith("yaml.") and "load" in ast.unparse(node.func):
                    assert ast.unparse(node.func).startswith("yaml.safe_load"), path
