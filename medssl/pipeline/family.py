"""What a family is: one kind of work, such as segmentation, from cases to results.

The engine alone knows finished stages, locks, keys, MLflow, studies and the order of work. A family
says what differs. It is one object, found by name through the entry-point group `medssl.families`,
and names its functions as "module:function", which are imported when they are called: to look at a
family imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medssl.errors import UsageError
from medssl.methods.settings import MethodSettings
from medssl.registry import FAMILIES


@dataclass(frozen=True)
class InitialEncoder:
    """How runs start from a pre-trained encoder, which `pretrain` in their pipeline names.

    Attributes:
        part: section of a pipeline, of the run and of the pre-training, that describes it. Where
            this section of the run has a key `weights`, the encoder's file is set there.
        read: (folder) -> the description of a trained one, which has `part` and `seen`.
    """

    part: str
    read: str


@dataclass(frozen=True)
class Step:
    """One stage of a run.

    Attributes:
        work: (job, tracker) -> facts for its mark. The numbers by name in its "summary" are logged
            too.
        intact: (job) -> whether what it wrote is there as it was written; None: nothing is asked.
        aside: the stage that it follows, where no later stage follows it; None: it follows the one
            before it, and the next one follows it.
        together: whether several processes carry it out together, if there are several: `work`
            calls `medssl.train.distributed.TEAM`. Otherwise it is left to the first one.
        folds: where `work` trains the folds of a cross-validation by
            `medssl.pipeline.folds.train_folds`, and one alone where `job.fold` says so: the file in
            the folder of a fold that says that it is trained. Empty: folds are not trained apart.
    """

    work: str
    intact: str | None = None
    aside: str | None = None
    together: bool = False
    folds: str = ""


@dataclass(frozen=True)
class Scoring:
    """How finished runs are scored and compared.

    Attributes:
        comparison: () -> the `Comparison` of finished runs.
        usual_arms: methods that a study compares which is made of a pipeline alone; the first is
            what the finished runs of a pipeline are compared with.
        tested: what test cases are called in messages, such as "images", where nothing is scored
            without them; empty: scores need none.
        unscored: whether a run without test cases makes sense all the same.
        axes: what a study varies beside "arm" and "seed": "labels", "data" or nothing.
        seed_keys: keys that take the seed of a study's run.
    """

    comparison: str
    usual_arms: tuple[str, ...]
    tested: str = ""
    unscored: bool = False
    axes: tuple[str, ...] = ()
    seed_keys: tuple[str, ...] = ("seed",)


@dataclass(frozen=True)
class Beforehand:
    """What is decided and said before a run begins.

    Attributes:
        plan: (config, cohort, reporter) -> the `Planned` keys that a pipeline leaves to a plan.
        foretell: (job) -> how long a run takes and what memory, in words, as a
            `medssl.pipeline.foretold.Foretold` says it; empty where that is not worth telling.
        refuse: (config, cohort, reporter) ends a whole run that would fail only after training.
    """

    plan: str | None = None
    foretell: str | None = None
    refuse: str | None = None


@dataclass(frozen=True)
class LooseFiles:
    """What is done with files that belong to no pipeline.

    Attributes:
        predict: (checkpoint, files, out, overrides, reporter, device, overwrite) -> what was made
            of files, in words.
        writes: what `predict` writes, in words, where its files have one format each; empty: a key
            `format` chooses.
        measures: whether `predict` takes a further argument `statistics`, a CSV to write.
        shared: whether several processes may call `predict` together; the first one's answer is
            told.
        lists: whether `predict` takes `lines` and `shard` of a list in place of files, see
            `medssl.pipeline.manifest`.
        neutral: whether `predict` names results of DICOM so that they say nothing of patients,
            unless a further argument `keep_ids` is true.
        evaluate: (predictions, spec, out, reporter, overrides) -> scores of such results, in words;
            the overrides are of keys of the section `evaluate`.
        open: (checkpoint, overrides, device) -> a model that answers one request after the other,
            for `medssl serve`, see `medssl.serve.worker.Asks`.
    """

    predict: str | None = None
    writes: str = ""
    measures: bool = False
    shared: bool = False
    lists: bool = False
    neutral: bool = False
    evaluate: str | None = None
    open: str | None = None


@dataclass(frozen=True)
class Family:
    """One kind of work. The first seven members are what every family says.

    All errors that its functions raise are `MedsslError`s.

    Attributes:
        name: as methods name it in `MethodSettings.family`.
        configs: types of its pipelines, derived from `Config`. Of several, the first is the usual
            one, and a method takes the one whose `kind` it names in `learns_from`.
        cohort: (config, kept_out) -> `Cohort`: the cases of a run and who has which role; reads no
            image. Patients with a key (`patient_key`) in `kept_out` are not to be learnt from.
        inputs: (config, cohort) -> what decides the result of each stage, by its name and in order,
            beyond that of the stage before: plain values, after which folders are named. A stage
            that depends on nothing more shares the key of the one before.
        steps: the stages by name, in order.
        results: (plan) -> where the results of a finished run are, by a word, "model" first.
        scoring: how they are scored and compared.
        prepare: (job) -> what all stages work on, as `job.data`; before anything is written.
        prepares_together: whether several processes carry out `prepare` together, as a `Step`;
            otherwise each does it by itself, after the first one.
        draft: (spec, cases) -> keys of a first pipeline with their reasons, as
            `medssl.pipeline.drafts.Keys`; None where another family knows better.
        before: what is decided and said before a run.
        found: (plan) -> what a finished run found, in lines for people.
        initial_encoder: how runs start from a pre-trained encoder; None: they never do.
        trains_encoders: whether what it trains is what other families start from.
        files: what is done with files that belong to no pipeline.
    """

    name: str
    configs: tuple[type[Any], ...]
    cohort: str
    inputs: str
    steps: Mapping[str, Step]
    results: str
    scoring: Scoring
    prepare: str | None = None
    prepares_together: bool = False
    draft: str | None = None
    before: Beforehand = Beforehand()
    found: str | None = None
    initial_encoder: InitialEncoder | None = None
    trains_encoders: bool = False
    files: LooseFiles = LooseFiles()

    @property
    def aside(self) -> dict[str, str]:
        """Stages that no later one depends on, with the stage before each."""
        return {name: step.aside for name, step in self.steps.items() if step.aside}

    @property
    def folded(self) -> tuple[str, str]:
        """The stage that trains folds, and its `Step.folds`; both empty where none does."""
        found = ((name, step.folds) for name, step in self.steps.items() if step.folds)
        return next(found, ("", ""))

    @property
    def scored(self) -> str:
        """The stage whose results are those of a finished run: the last that is not aside."""
        return [name for name, step in self.steps.items() if step.aside is None][-1]

    def refuse_formats(self, keys: Sequence[str]) -> None:
        """Refuse a `format` among what a prediction is given, where there is no choice.

        Raises:
            UsageError: says what is written.
        """
        asked = next((key for key in keys if key.startswith("format=")), None)
        if asked and self.files.writes:
            raise UsageError(
                f"{asked} cannot be chosen for a checkpoint of the family '{self.name}'",
                f"it writes {self.files.writes}",
                "leave the format out",
            )

    def config(self, method: type[MethodSettings]) -> type[Any]:
        """The type of the pipelines of a method."""
        kind = getattr(method, "learns_from", self.configs[0].kind)
        return next((one for one in self.configs if one.kind == kind), self.configs[0])


def family_names() -> list[str]:
    """Every known family: those of this package, then those that other packages offer."""
    shipped = list(FAMILIES.shipped)
    return [*shipped, *(name for name in FAMILIES.names() if name not in shipped)]


def find_family(name: str) -> Family:
    """The family of that name.

    Raises:
        UsageError: there is none (names the nearest), or that of another package cannot be used.
    """
    return FAMILIES.find(name, Family)
