"""A study as manifests of Kubernetes: indexed Jobs, or TrainJobs of the Kubeflow trainer.

Jobs take a run, or a fold of one, for each index. What is asked to stop ends with 75 and is begun
again without being counted as failed, as is what loses its node; wrong usage and rejected data are
not tried again, and one index that fails stops no other. TrainJobs are for runs of several
machines.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml

from medssl.atomic import write_text
from medssl.errors import DataError, Stopped, UsageError
from medssl.mistakes import nearest
from medssl.pipeline.executors.order import REPORT, Handed, Order
from medssl.pipeline.study_tasks import Task, study_folder

FOLDER = "kubernetes"
"""In the study's folder."""

SETTINGS = {
    "image": "medssl:latest",
    "claim": "medssl",
    "namespace": "default",
    "cpu": "4",
    "memory": "32Gi",
    "mlflow": "",
    "nodes": "",
}
"""What `--set` takes, and what stands without it; `nodes` makes TrainJobs."""

WORK = "/work"
"""Where containers see the claim: pipelines, data, runs and cache, as in a folder at home."""

FOLDERS = {
    "MEDSSL_DATA": f"{WORK}/data",
    "MEDSSL_RUNS": f"{WORK}/runs",
    "MEDSSL_CACHE": f"{WORK}/.cache/medssl",
    "MEDSSL_ENCODERS": f"{WORK}/encoders",
    "MEDSSL_KEY": f"{WORK}/key",
}
"""Said to every container, as images have folders of their own: that of docker/ has /data."""

FROM_ENCODERS, OF_FOLDS = "-from-encoders", "-of-folds"

WAITS = {
    "pretrainings": (),
    "folds": (),
    "runs": (),
    f"folds{FROM_ENCODERS}": ("pretrainings",),
    f"runs{FROM_ENCODERS}": ("pretrainings",),
    f"runs{OF_FOLDS}": ("folds", f"folds{FROM_ENCODERS}"),
}
"""Steps in which pieces are applied, in order, and those that each waits for."""

TRIES = 3
GRACE_S = 120
"""Seconds that a run has to keep what it did before it is ended."""


def write_manifests(order: Order) -> Handed:
    """Write what is missing as manifests, and a script that applies them in their order.

    Raises:
        UsageError: a setting is unknown, or the runs would be planned each for itself.
    """
    if not order.work.tasks:
        return Handed()
    for key in order.settings:
        if key not in SETTINGS:
            raise UsageError(f"--set {key} is unknown", do=nearest(key, list(SETTINGS)))
    order.must_be_planned()
    make = _Manifests(order)
    folder = study_folder(order.study) / FOLDER
    for old in folder.glob("*.yaml"):
        old.unlink()
    steps = make.steps()
    names = [f"{number}-{what}.yaml" for number, (what, _) in enumerate(steps, start=1)]
    for file, (_, found) in zip(names, steps, strict=True):
        write_text(folder / file, yaml.safe_dump_all(found, sort_keys=False))
    script = folder / "apply.sh"
    write_text(script, _script(dict(zip(names, steps, strict=True)), make.settings["namespace"]))
    script.chmod(0o755)
    return Handed("\n".join([*(f"wrote    {folder / file}" for file in names), *_next(script)]))


class _Manifests:
    """The manifests of one study."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.settings = SETTINGS | dict(order.settings)
        if not self.settings["nodes"].isdigit() and self.settings["nodes"]:
            raise UsageError(f"--set nodes={self.settings['nodes']} is no number")
        self._gpus = 1 if order.gpus is None else order.gpus
        text = files("medssl.pipeline.executors").joinpath("storage.yaml").read_text("utf-8")
        claim = json.dumps(self.settings["claim"])
        self._storage = yaml.safe_load(Template(text).substitute(claim=claim))

    def steps(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """What is applied one after the other: a word on it, and its manifests."""
        kinds: dict[str, list[Task]] = {what: [] for what in WAITS}
        for task in self._order.work.tasks:
            kinds[_step_of(task)].append(task)
        found = [(what, self._work(what, tasks)) for what, tasks in kinds.items() if tasks]
        return [*found, (REPORT, [self._job(REPORT, [REPORT], gpus=0)])]

    def _work(self, what: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        if self.settings["nodes"]:
            return [self._train_job(_plain(task.word), task) for task in tasks]
        return [self._job(what, [task.word for task in tasks], self._gpus)]

    def _job(self, what: str, words: Sequence[str], gpus: int) -> dict[str, Any]:
        """An indexed Job with a piece for each index."""
        command = self._order.command_of(words[0], python="python")
        # The shell is replaced, so that the signal to stop reaches the run.
        piece = f"set -- {shlex.join(words)}; shift $JOB_COMPLETION_INDEX; "
        line = f'{piece}exec {shlex.join(command[:-1])} "$1"'
        rules = [
            {"action": "Ignore", "onPodConditions": [_DISRUPTED]},
            {"action": "Ignore", "onExitCodes": _codes(Stopped.exit_code)},
            {
                "action": "FailIndex",
                "onExitCodes": _codes(UsageError.exit_code, DataError.exit_code),
            },
        ]
        container = {
            "name": "medssl",
            "image": self.settings["image"],
            "workingDir": WORK,
            "command": ["sh", "-c", line],
            "env": self._variables(),
            "resources": self._resources(gpus),
            **self._storage["container"],
        }
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self._metadata(what),
            "spec": {
                "completionMode": "Indexed",
                "completions": len(words),
                "parallelism": min(self._order.jobs or len(words), len(words)),
                "backoffLimitPerIndex": TRIES,
                "maxFailedIndexes": len(words),
                "podReplacementPolicy": "Failed",
                "podFailurePolicy": {"rules": rules},
                "template": {
                    "metadata": {"labels": self._labels()},
                    "spec": {
                        "restartPolicy": "Never",
                        "terminationGracePeriodSeconds": GRACE_S,
                        "containers": [container],
                        **self._storage["pod"],
                    },
                },
            },
        }

    def _train_job(self, what: str, task: Task) -> dict[str, Any]:
        """A TrainJob: one piece on several machines, whose processes the trainer starts."""
        command = self._order.command_of(task, python="python")
        words = command[command.index("medssl") :]
        node = {"name": "node", **self._storage["container"]}
        pod = {
            "terminationGracePeriodSeconds": GRACE_S,
            "containers": [node],
            **self._storage["pod"],
        }
        jobs = [{"name": "node", "template": {"spec": {"template": {"spec": pod}}}}]
        return {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "metadata": self._metadata(what),
            "spec": {
                "runtimeRef": {"name": "torch-distributed"},
                "trainer": {
                    "image": self.settings["image"],
                    "command": ["sh", "-c", f"cd {WORK}; exec torchrun -m {shlex.join(words)}"],
                    "env": self._variables(),
                    "numNodes": int(self.settings["nodes"]),
                    "numProcPerNode": max(1, self._gpus),
                    "resourcesPerNode": self._resources(self._gpus),
                },
                "runtimePatches": [
                    {
                        "manager": "medssl/study",
                        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}},
                    }
                ],
            },
        }

    def _metadata(self, what: str) -> dict[str, Any]:
        room = 63 - len(f"medssl--{what}")
        study = _plain(self._order.study.name)[:room].strip("-")
        return {
            "name": f"medssl-{study}-{what}",
            "namespace": self.settings["namespace"],
            "labels": self._labels(),
        }

    def _labels(self) -> dict[str, str]:
        study = _plain(self._order.study.name)[:63].strip("-")
        return {"app.kubernetes.io/name": "medssl", "medssl/study": study}

    def _variables(self) -> list[dict[str, str]]:
        """As at home, everything lies in the working folder."""
        found = {"HOME": "/tmp", **FOLDERS}  # noqa: S108 - the container's own
        if self.settings["mlflow"]:
            found["MLFLOW_TRACKING_URI"] = self.settings["mlflow"]
        return [{"name": name, "value": value} for name, value in found.items()]

    def _resources(self, gpus: int) -> dict[str, Any]:
        wanted = {key: self.settings[key] for key in ("cpu", "memory")}
        return {
            "requests": dict(wanted),
            "limits": wanted | ({"nvidia.com/gpu": str(gpus)} if gpus else {}),
        }


_DISRUPTED = {"type": "DisruptionTarget", "status": "True"}


def _codes(*values: int) -> dict[str, Any]:
    return {"operator": "In", "values": list(values)}


def _plain(name: str) -> str:
    """A name as Kubernetes takes it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "study"


def _step_of(task: Task) -> str:
    """In which of the steps of `WAITS` a piece is applied."""
    if task.kind == "encoder":
        return "pretrainings"
    return f"{task.kind}s{OF_FOLDS if task.folds else FROM_ENCODERS if task.after else ''}"


def _script(steps: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]], namespace: str) -> str:
    """A script that applies the manifests, and waits for what others need.

    Args:
        steps: a word on each and its manifests, by file and in order.
    """
    lines = [
        "#!/bin/sh",
        "# Applies the study in its order; ends when the report is written.",
        "set -eu",
        'cd "$(dirname "$0")"',
        "ended() {",
        f'  until kubectl get --namespace {namespace} "$1" \\',
        "      -o jsonpath='{.status.conditions[?(@.status==\"True\")].type}' \\",
        "      | grep -Eq 'Complete|Failed'; do sleep 20; done",
        "}",
    ]
    names: dict[str, list[str]] = {}
    for file, (what, step) in steps.items():
        waits = WAITS.get(what, tuple(names))  # the report waits for all
        lines += [f"ended {name}" for before in waits for name in names.get(before, ())]
        lines.append(f"kubectl apply --filename {file}")
        names[what] = [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in step]
    return "\n".join([*lines, *(f"ended {name}" for name in names[REPORT]), ""])


def _next(script: Path) -> list[str]:
    return [
        f"apply    sh {script}",
        f"follow   kubectl get jobs --selector {_SELECTOR}",
        "the same command writes again what is missing, once the claim's runs are here",
    ]


_SELECTOR = "app.kubernetes.io/name=medssl"
