"""An image built and tried without an engine: buildah carries out its file in a clean root.

    python -m tests.docker.replay                                docker/Dockerfile.cpu, minutes
    python -m tests.docker.replay docker/Dockerfile.mlflow
    python -m tests.docker.replay docker/Dockerfile              downloads gigabytes of CUDA
    python -m tests.docker.replay docker/Dockerfile COMPILE=yes  with an argument of the build

Needs root, buildah and debootstrap (Debian's packages), some GB of disk, and the registries of
Debian and Python; a container runs in a chroot (`buildah --isolation chroot`), so neither Docker
nor namespaces are needed. In place of the official image python:3.11-slim stands the Debian release
whose Python is that one, by debootstrap. The index, certificates and folders of wheels that pip
uses here are lent to the steps. Prints the size of the image and what it said; leaves nothing.
"""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Releases of Debian by their Python."""

PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"

LENT = ("cert", "index-url", "extra-index-url", "find-links", "trusted-host", "proxy")
"""Settings of pip that say where packages are, and nothing of which."""

RUN = ("medssl", "run", "brain_cohort", "train.steps=10", "evaluate.overlays=0", "-q")

TORCH = ("python", "-c", "import torch; print(torch.__version__, 'CUDA', torch.version.cuda)")

TRIALS: Mapping[str, Sequence[Sequence[str]]] = {
    "Dockerfile.mlflow": (("id",), ("mlflow", "--version")),
    "": (("id",), ("medssl", "--version"), TORCH, RUN, ("ls", "-l", "/work/runs")),
}
"""What is tried in an image beside its own command, by its file; others as the last."""


def needs() -> str:
    """What is missing here to build an image, in words; empty: nothing."""
    if os.geteuid() != 0:
        return "only root can"
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


def base_of(dockerfile: str, arguments: Sequence[str] = ()) -> str:
    """The one image that a Dockerfile starts from, e.g. "python:3.11-slim".

    Args:
        dockerfile: its text.
        arguments: those of the build, as NAME=VALUE.

    Raises:
        ValueError: it starts from several, or from none that is Debian's Python.
    """
    given = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    given.update(one.split("=", 1) for one in arguments)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE))
    named = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    bases = {re.sub(r"\$\{(\w+)\}", lambda one: given[one[1]], name) for name in named} - stages
    (base,) = bases if len(bases) == 1 else ("",)
    if re.fullmatch(rf"python:({'|'.join(map(re.escape, SUITES))})-slim", base) is None:
        raise ValueError(f"{' and '.join(sorted(bases))} cannot be replaced by a release of Debian")
    return base


def settings_of(listed: str) -> dict[str, str]:
    """The settings of pip that are lent, by name, of what `pip config list` prints."""
    lines = sorted(listed.splitlines(), key=lambda line: line.startswith(":env:"))  # these count
    pairs = (line.partition("=") for line in lines)
    found = {key.partition(".")[2]: ast.literal_eval(value) for key, _, value in pairs if value}
    return {key: found[key] for key in LENT if key in found}


def folders_of(settings: Mapping[str, str]) -> Iterator[Path]:
    """The files and folders of this machine that such settings name."""
    for word in " ".join(settings.values()).split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            yield path


def lent(work: Path) -> list[str]:
    """Volumes of buildah by which a step has pip's settings of this machine."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings = settings_of(listed.stdout)
    config = work / "pip.conf"
    config.write_text("[global]\n" + "".join(f"{key} = {settings[key]}\n" for key in settings))
    # Of an index of files, its neighbours hold what it links to.
    there = {path.parent if path.name == "simple" else path for path in folders_of(settings)}
    pairs = [(config, Path("/etc/pip.conf")), *((path, path) for path in sorted(there))]
    return [f"--volume={here}:{inside}:ro" for here, inside in pairs]


def make_root(place: Path, suite: str) -> None:
    """A Debian with nothing but Python, laid out as in the official image."""
    options = ["--variant=minbase", f"--include={PACKAGES}"]
    subprocess.run(["debootstrap", *options, suite, str(place)], check=True, stdout=sys.stderr)
    for mark in place.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        mark.unlink()  # by which Debian keeps pip from its own packages
    (place / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for file in [*place.glob("var/cache/apt/archives/*.deb"), *place.glob("var/lib/apt/lists/*_*")]:
        file.unlink()


class Buildah:
    """buildah with images in a folder of its own."""

    def __init__(self, work: Path) -> None:
        self._start = ["buildah", "--root", f"{work}/storage", "--runroot", f"{work}/run"]

    def __call__(self, *words: str, check: bool = True) -> str:
        """What a command prints.

        Raises:
            CalledProcessError: it fails.
        """
        done = subprocess.run([*self._start, *words], check=check, stdout=subprocess.PIPE)
        return done.stdout.decode().strip()

    def command(self, name: str) -> list[str]:
        """What an image runs where nothing else is asked for."""
        config = json.loads(self("inspect", "--type=image", name))["OCIv1"]["config"]
        return config["Entrypoint"] + config["Cmd"]

    def add_image(self, root: Path, name: str) -> None:
        """Make an image of a root."""
        container = self("from", "scratch")
        self("add", "--quiet", container, str(root), "/")
        self("commit", "--quiet", "--rm", container, f"docker.io/library/{name}")


def replay(dockerfile: Path, arguments: Sequence[str], work: Path) -> None:
    """Build the image, and print what it is and what it says.

    Args:
        dockerfile: the image's file.
        arguments: those of the build, as NAME=VALUE.
        work: a folder with room for the image.

    Raises:
        CalledProcessError: a step fails.
        ValueError: the file starts from another image than Debian's Python.
    """
    base, buildah = base_of(dockerfile.read_text(), arguments), Buildah(work)
    suite = SUITES[base.removeprefix("python:").removesuffix("-slim")]
    try:
        make_root(work / "root", suite)
        buildah.add_image(work / "root", base)
        print(f"in place of {base}: Debian {suite}, {_size(buildah, base)}", flush=True)
        how = ["--isolation=chroot", "--pull-never", *lent(work)]
        how += [f"--build-arg={one}" for one in arguments]
        built = buildah("bud", *how, f"--file={dockerfile}", "--tag=replayed", str(ROOT))
        steps = re.findall(r"^(?:\[\d/\d\] )?STEP \d+/\d+: (\w+)", built, re.MULTILINE)
        print(f"{dockerfile.name}: {len(steps)} steps, {_size(buildah, 'replayed')}", flush=True)
        container = buildah("from", "--pull-never", "localhost/replayed")
        command = buildah.command("localhost/replayed")
        for words in (command, *TRIALS.get(dockerfile.name, TRIALS[""])):
            print(f"$ {' '.join(words)}", flush=True)
            print(buildah("run", "--isolation=chroot", container, "--", *words), flush=True)
    finally:
        buildah("rm", "--all", check=False)
        buildah("rmi", "--all", "--force", check=False)


def _size(buildah: Buildah, name: str) -> str:
    return buildah("images", "--format={{.Size}}", name)


def main() -> None:
    """The command."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("dockerfile", nargs="?", default=ROOT / "docker/Dockerfile.cpu", type=Path)
    reader.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="of the build")
    chosen = reader.parse_args()
    if missing := needs():
        raise SystemExit(f"no image can be built here: {missing}")
    with tempfile.TemporaryDirectory() as work:
        replay(chosen.dockerfile.resolve(), chosen.arguments, Path(work))


if __name__ == "__main__":
    main()
