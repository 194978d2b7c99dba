"""What a family is: one kind of work, such as segmentation, from cases to results.

The engine alone knows finished stages, locks, keys, MLflow, studies and the order of work. A family
says what differs. It is one object, found by name through the entry-point group `medssl.families`,
and names its functions as "module:function", which are imported when they are called: to look at a
family imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
class Family:
    """One kind of work.

    All errors that its functions raise are `MedsslError`s.

    Attributes:
        name: as methods name it in `MethodSettings.family`.
        configs: types of its pipelines, derived from `Config`. Of several, the first is the usual
            one, and a method takes the one whose `kind` it names in `learns_from`.
        usual_arms: methods that a study compares which is made of a pipeline alone; the first is
            what the finished runs of a pipeline are compared with.
        cohort: (config, kept_out) -> `Cohort`: the cases of a run and who has which role; reads no
            image. Patients with a key (`patient_key`) in `kept_out` are not to be learnt from.
        inputs: (config, cohort) -> what decides the result of each stage, by its name and in order,
            beyond that of the stage before: plain values, after which folders are named. A stage
            that depends on nothing more shares the key of the one before.
        steps: of each stage in order, (job, tracker) -> facts for its mark. The numbers by name in
            its "summary" are logged too.
        results: (plan) -> where the results of a finished run are, by a word, "model" first.
        comparison: () -> the `Comparison` of its finished runs.
        prepare: (job) -> what all stages work on, as `job.data`; before anything is written.
        intact: of a stage, (job) -> whether what it wrote is there as it was written.
        draft: (spec, cases) -> keys of a first pipeline with their reasons, as
            `medssl.pipeline.drafts.Keys`; None where another family knows better.
        plan: (config, cohort, reporter) -> the `Planned` keys that a pipeline leaves to a plan.
        foretell: (config, cohort, reporter) -> how long a planned run takes and what memory, in
            words; empty where that is not worth telling.
        preflight: (config, cohort, reporter) refuses what would fail only after training, when a
            whole run is asked for.
        found: (plan) -> what a finished run found, in lines for people.
        initial_encoder: how runs start from a pre-trained encoder; None: they never do.
        predict_files: (checkpoint, files, out, overrides, reporter, device, overwrite) -> what was
            made of loose files, in words.
        open_model: (checkpoint, overrides, device) -> a model that answers one request after the
            other, for `medssl serve`; see `medssl.families.segment.model`.
        writes: what `predict_files` writes, in words, where its files have one format each; empty:
            a key `format` chooses.
        evaluate_files: (predictions, spec, out, reporter, overrides) -> scores of such results, in
            words; the overrides are of keys of the section `evaluate`.
        axes: what a study varies beside "arm" and "seed": "labels", "data" or nothing.
        seed_keys: keys that take the seed of a study's run.
        tested: what the test cases are called without which nothing is scored; empty: it is.
        unscored: whether a run makes sense all the same where there are none.
        aside: stages that no later one depends on, with the stage before each.
        measures: whether `predict_files` takes a further argument `statistics`, a CSV to write.
        together: stages that several processes carry out together, if there are several: their
            functions call `medssl.train.distributed.TEAM`; "prepare" stands for `prepare`. The
            others are left to the first one.
        shares_files: whether several processes may call `predict_files` together; the first one's
            answer is told.
        lists: whether `predict_files` takes `lines` and `shard` of a list in place of files, see
            `medssl.pipeline.manifest`.
        neutral: whether `predict_files` names results of DICOM so that they say nothing of
            patients, unless a further argument `keep_ids` is true.
        trains_encoders: whether what it trains is what other families start from.
    """

    name: str
    configs: tuple[type[Any], ...]
    usual_arms: tuple[str, ...]
    cohort: str
    inputs: str
    steps: Mapping[str, str]
    results: str
    comparison: str
    prepare: str | None = None
    intact: Mapping[str, str] = field(default_factory=dict)
    draft: str | None = None
    plan: str | None = None
    foretell: str | None = None
    preflight: str | None = None
    found: str | None = None
    initial_encoder: InitialEncoder | None = None
    predict_files: str | None = None
    open_model: str | None = None
    writes: str = ""
    evaluate_files: str | None = None
    axes: tuple[str, ...] = ()
    seed_keys: tuple[str, ...] = ("seed",)
    tested: str = ""
    unscored: bool = False
    aside: Mapping[str, str] = field(default_factory=dict)
    measures: bool = False
    together: tuple[str, ...] = ()
    shares_files: bool = False
    lists: bool = False
    neutral: bool = False
    trains_encoders: bool = False

    @property
    def scored(self) -> str:
        """The stage whose results are those of a finished run: the last that is not aside."""
        return [stage for stage in self.steps if stage not in self.aside][-1]

    def refuse_formats(self, keys: Sequence[str]) -> None:
        """Refuse a `format` among what a prediction is given, where `writes` leaves no choice.

        Raises:
            UsageError: says what is written.
        """
        asked = next((key for key in keys if key.startswith("format=")), None)
        if asked and self.writes:
            raise UsageError(
                f"{asked} cannot be chosen for a checkpoint of the family '{self.name}'",
                f"it writes {self.writes}",
                "leave the format out",
            )

    def config(self, method: type[MethodSettings]) -> type[Any]:
        """The type of the pipelines of a method."""
        kind = getattr(method, "learns_from", self.configs[0].kind)
        return next((one for one in self.configs if one.kind == kind), self.configs[0])


def in_package(package: str, *stages: str) -> dict[str, Any]:
    """Members of a family whose functions lie where those of the families of medssl do.

    That is, in the package's module `cohort`, and for each stage in a module of its name.
    """
    cohort = {name: f"{package}.cohort:{name}" for name in ("inputs", "results")}
    steps = {stage: f"{package}.{stage}:{stage}" for stage in stages}
    return {"cohort": f"{package}.cohort:find_cohort", **cohort, "steps": steps}


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
