"""What the engine asks of a family: of segmentation, grading, slides, pre-training, or of yours.

A family is one object, found by name through the entry-point group `medssl.families`. The engine
alone knows finished stages, locks, keys, MLflow, studies and the order of work; a family knows its
data, its training, its scores and its words. Importing it must not import torch: whatever does is
imported inside its methods.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medssl.data.spec import DataSpec
from medssl.errors import UsageError
from medssl.methods.settings import MethodSettings
from medssl.registry import FAMILIES

if TYPE_CHECKING:
    from medssl.pipeline.comparison import Comparison
    from medssl.pipeline.config import Config
    from medssl.pipeline.plan import Cohort, Job, Plan
    from medssl.pipeline.progress import QuietReporter
    from medssl.train.track import Tracker


@dataclass(frozen=True)
class Step:
    """One stage of a run.

    Attributes:
        name: of the stage and the first part of its folder's name.
        work: does it in the stage's folder; returns facts for its mark, of which "summary", numbers
            by name, is also logged.
        intact: whether what it wrote is there as it was written.
    """

    name: str
    work: "Callable[[Job, Tracker], Mapping[str, Any]]"
    intact: "Callable[[Job], bool]" = lambda job: True


class InitialEncoder(ABC):
    """How runs start from a pre-trained encoder, which `pretrain` in a pipeline names."""

    @abstractmethod
    def must_fit(self, config: Any, pretraining: Any) -> None:
        """Refuse a pre-training, before it is run, whose encoder the run cannot take.

        Args:
            config: of the run.
            pretraining: the `Config` of the pre-training.

        Raises:
            UsageError: says what to set.
        """

    @abstractmethod
    def verify(self, config: Any, folder: Path, cohort: Any) -> None:
        """Refuse a trained encoder that does not fit, or that has seen a test case.

        Raises:
            UsageError, DataError: it does not, or it has.
        """

    @abstractmethod
    def at(self, config: Any, folder: Path) -> Any:
        """`config` of a run that starts at the encoder in `folder`."""


class Family(ABC):
    """One kind of work, from cases to results.

    Attributes:
        name: as methods name it in `MethodSettings.family`.
        axes: what a study varies beside "arm" and "seed": "labels", "data" or nothing.
        usual_arms: methods that a study compares which is made of a pipeline alone; the first is
            what the finished runs of a pipeline are compared with.
        seed_keys: keys that take the seed of a study's run.
        trains_encoders: whether what it trains is what other families start from.
    """

    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ()
    usual_arms: ClassVar[tuple[str, ...]]
    seed_keys: ClassVar[tuple[str, ...]] = ("seed",)
    trains_encoders: ClassVar[bool] = False

    @abstractmethod
    def config(self, method: type[MethodSettings] | None = None) -> "type[Config[Any]]":
        """The type of its pipelines, for a method where that matters."""

    def configs(self) -> "Sequence[type[Config[Any]]]":
        """Every type of its pipelines."""
        return (self.config(),)

    @abstractmethod
    def cohort(self, config: Any, kept_out: Collection[str] = frozenset()) -> "Cohort":
        """The cases of a run and who has which role; reads no image.

        Args:
            kept_out: keys (`medssl.data.split.patient_key`) of patients that must not be learnt
                from. Only a family that takes part in the runs of others needs to look at them.

        Raises:
            DataError, UsageError: the data set is missing, or cannot be used for such a run.
        """

    @abstractmethod
    def inputs(self, config: Any, cohort: Any) -> Mapping[str, Sequence[Any]]:
        """What decides the result of each stage beyond that of the one before, as plain values.

        The stages' folders are named after it. A stage that depends on nothing more shares the key
        of the one before.
        """

    @abstractmethod
    def steps(self, plan: "Plan[Any, Any]") -> Sequence[Step]:
        """The stages of a run, in order, of those that `inputs` names."""

    @abstractmethod
    def results(self, plan: "Plan[Any, Any]") -> Mapping[str, Path]:
        """Where the results of a finished run are, by a word; "model" first."""

    def found(self, plan: "Plan[Any, Any]") -> Sequence[str]:
        """What a finished run found, in a few lines for people."""
        return ()

    def refuse(  # noqa: B027 - a family may have nothing to refuse
        self, config: Any, cohort: Any, reporter: "QuietReporter"
    ) -> None:
        """Refuse at once what would fail only after training, when a whole run is asked for.

        Raises:
            UsageError, DataError: there is such a thing.
        """

    def prepare(self, job: "Job") -> Any:
        """What all stages of a run work on; not asked for where the first stage is done."""
        return None

    def initial_encoder(self) -> InitialEncoder | None:
        """How a run starts from a pre-trained encoder; None where it never does."""
        return None

    @abstractmethod
    def comparison(self) -> "Comparison":
        """How finished runs are read, compared and told of."""

    def predict_files(
        self,
        checkpoint: Path,
        files: Sequence[Path],
        out: Path,
        overrides: Sequence[str],
        reporter: "QuietReporter",
        device: str,
        overwrite: bool,
    ) -> str:
        """Results of loose files, without pipeline and data spec; returns what was made, in words.

        Raises:
            UsageError, DataError: a file, a setting or `out` cannot be used; by default always.
        """
        raise UsageError(
            f"{checkpoint} cannot be asked about images",
            "it is a pre-trained encoder",
            f"train a pipeline that starts from it, with pretrain={checkpoint}",
        )

    def evaluate_files(
        self, predictions: Path, spec: DataSpec, out: Path, reporter: "QuietReporter"
    ) -> str:
        """Scores of results that `predict_files` wrote; returns them in words.

        Raises:
            UsageError, DataError: they cannot be scored; by default always.
        """
        raise UsageError(f"the family '{self.name}' has nothing to evaluate files by")


def family_names() -> list[str]:
    """Every known family: those of this package, then those that other packages offer."""
    shipped = list(FAMILIES.shipped)
    return [*shipped, *(name for name in FAMILIES.names() if name not in shipped)]


def find_family(name: str) -> Family:
    """The family of that name.

    Raises:
        UsageError: there is none (names the nearest), or that of another package cannot be used.
    """
    return FAMILIES.find(name, Family)  # type: ignore[type-abstract]
