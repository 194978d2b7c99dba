"""Sections that pipeline files of several families share; every key has a meaning."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from medssl.data.dicom.rule import SeriesRule
from medssl.device import named_device
from medssl.names import FileName
from medssl.section import Amount, Batch, Count, Patch, Section, Seed, Steps, Triple

Format = Literal[
    "nifti",
    "nrrd",
    "mha",
    "png",
    "tiff",
    "dicom-seg",
    "dicom-seg-fractional",
    "dicom-seg-labelmap",
    "rtstruct",
    "stl",
    "obj",
]
"""In which a mask can be written; those that are no volume are for other programs alone."""

VOLUME_FORMATS = ("nifti", "nrrd", "mha", "png", "tiff")
"""Those that masks can be read from again."""

DeviceName = Annotated[str, AfterValidator(named_device)]


Beta = Annotated[float, Field(ge=0, lt=1)]


def _precision(given: Any) -> Any:
    """A precision by its full name."""
    short = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    return short.get(given, given) if isinstance(given, str) else given


Precision = Annotated[
    Literal["float32", "tf32", "bfloat16", "float16"], BeforeValidator(_precision)
]
"""Of passes through networks; fp32, bf16 and fp16 are short for three of them."""


class OptimiserSettings(Section):
    """Optimiser and its schedule, per step."""

    name: Literal["sgd", "adam", "adamw"] = Field(
        default="sgd", description="stochastic gradient descent with momentum, Adam, or AdamW"
    )
    learning_rate: float = Field(
        default=0.05, gt=0, description="at its highest; the schedule may lower it"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    betas: tuple[Beta, Beta] = Field(
        default=(0.9, 0.999),
        description="of adam and adamw: how long both averages of the gradient last",
    )
    weight_decay: float = Field(
        default=1e-4,
        ge=0,
        description="factor on the weights that is added to the gradient, or with adamw "
        "taken from the weights",
    )
    weight_decay_end: float | None = Field(
        default=None, ge=0, description="cosine from weight_decay to here; null: constant"
    )
    decay_vectors: bool = Field(
        default=True, description="false: biases and norms, all with one axis, do not decay"
    )
    schedule: Literal["polynomial", "cosine", "constant"] = Field(
        default="polynomial",
        description="how the rate goes to the end of training: polynomial and cosine fall",
    )
    power: float = Field(default=0.9, gt=0, description="of the polynomial")
    minimum: float = Field(default=0.0, ge=0, description="learning rate at which a cosine ends")
    warmup_steps: Steps = Field(
        default=0, ge=0, description="steps in which the rate rises linearly from 0"
    )


class LoopSettings(Section):
    """The training loop of every family."""

    steps: Steps = Field(default=1000, ge=1, description="training steps")
    optimiser: OptimiserSettings = OptimiserSettings()
    rate_every: Steps = Field(
        default=1, ge=1, description="steps between changes of the learning rate"
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="largest norm of a gradient; null: any"
    )
    clip_by: Literal["network", "tensor"] = Field(
        default="network",
        description="what has such a norm: a network's weights together, or each tensor of them",
    )
    precision: Precision = Field(
        default="float32",
        description="of the passes through the network; the weights stay float32. tf32: float32 "
        "whose products a GPU rounds to 10 bits",
    )
    accumulate: Batch = Field(
        default=1,
        ge=1,
        description="turns in which networks pass the rows of a batch, each held by itself: less "
        "memory for about a third more time. The batch, its losses and gradients stay what they "
        "are, but for batch norms, which see one turn",
    )
    checkpointing: bool = Field(
        default=False,
        description="true: of each block of a network its answer alone is kept, and what is inside "
        "computed once more for the gradient: less memory for about a third more time",
    )
    sharded: bool = Field(
        default=False,
        description="true: of several processes each holds a part of the weights of every block, "
        "of their gradients and of the optimiser's state, and fetches the rest when the block is "
        "computed (PyTorch's fully_shard, FSDP2), for networks of hundreds of millions of weights",
    )
    compile: bool | Literal["graphs"] = Field(
        default=False,
        description="whether networks are compiled, which takes a minute and may be faster; "
        "graphs: and captured as CUDA graphs too, where shapes stay the same; where that cannot be "
        "done they run as they are, which is said",
    )
    channels_last: bool = Field(
        default=False,
        description="memory layout that is faster on some machines; results differ by rounding",
    )
    validate_every: Steps = Field(default=100, ge=1, description="steps between validations")
    checkpoint_every: Steps = Field(
        default=100,
        ge=1,
        description="steps between saved states, from which a stopped run continues",
    )
    log_every: Steps = Field(default=10, ge=1, description="steps between values in the log")
    device: DeviceName = Field(default="auto", description="auto, cpu, cuda, cuda:1 ...")
    threads: Count | None = Field(
        default=None, ge=1, description="CPU threads of torch; null: torch's"
    )
    deterministic: bool = Field(default=True, description="false: faster cuDNN kernels")


MOST_WORKERS = 8
"""Threads that make batches ahead, unless more are asked for."""


class TrainSettings(LoopSettings):
    """The loop on patches of volumes."""

    patch: Patch = Field(
        default=(32, 32, 32), description="voxels of the windows that the network learns from"
    )
    batch_labelled: Batch = Field(default=2, ge=1, description="labelled patches per step")
    batch_unlabelled: Batch = Field(
        default=2, ge=1, description="unlabelled patches per step, for methods that learn from them"
    )
    foreground: float = Field(
        default=0.33,
        ge=0,
        le=1,
        description="share of the labelled patches that are centred on foreground; with n in a "
        "batch its last ones, from round(n * (1 - share)) on, so by default one of two or three",
    )
    foreground_by: Literal["class", "case"] = Field(
        default="class",
        description="what is drawn first: a class, then a case that has it, so that rare classes "
        "are met as often; or a case, then one of its classes, as in nnU-Net",
    )
    foreground_unlabelled: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="the same share of the unlabelled patches, centred on what the network takes "
        "for foreground; 0: none",
    )
    foreground_refresh: Steps = Field(
        default=500,
        ge=20,
        description="steps after which all unlabelled cases are predicted anew for "
        "`foreground_unlabelled`; the first so many steps draw them uniformly",
    )
    workers: Count | None = Field(
        default=None,
        ge=0,
        description="threads that make batches ahead; 0: none, in the loop's own; null: one on a "
        "CPU, and as many as there are cores, up to 8, for a GPU. Results are equal",
    )
    augment_on: Literal["cpu", "gpu"] = Field(
        default="cpu",
        description="where random changes are made: in the threads that make batches, or on the "
        "device that trains; results differ by rounding",
    )


class PredictSettings(Section):
    """Sliding window and what comes after."""

    checkpoint: Literal["last", "best"] = Field(
        default="last",
        description="which weights predict; best: those with the best validation score",
    )
    stride: Triple | None = Field(default=None, description="voxels; null: half the patch")
    weighting: Literal["gaussian", "constant"] = Field(
        default="gaussian",
        description="gaussian trusts the middle of a window most, constant all of it alike",
    )
    window_batch: Batch | None = Field(
        default=None, ge=1, description="windows per call; null chooses by device and patch"
    )
    average: Literal["logits", "probabilities"] = Field(
        default="logits", description="what is averaged where windows overlap"
    )
    network: Literal["ensemble", "first", "second"] = Field(
        default="ensemble", description="of a method with two networks: the mean of both, or one"
    )
    flips: bool = Field(default=False, description="average over mirrored copies")
    unlabelled: bool = Field(
        default=False,
        description="whether `run` also gives every case without a label its mask, with a table of "
        "volumes and a page that say which to correct first",
    )
    largest_component: bool | tuple[str, ...] | None = Field(
        default=None,
        description="keeps the largest connected part alone, of each class or of those named; "
        "null: of those where it helped on the cases that the folds left out",
    )
    fill_holes: bool | tuple[str, ...] | None = Field(
        default=None, description="fills holes inside masks; as largest_component"
    )
    smallest_ml: Amount | dict[str, Amount] | None = Field(
        default=None,
        description="connected parts below this volume are dropped, of each class or of those "
        "named; null: as largest_component",
    )
    guard: float = Field(
        default=0.02,
        ge=0,
        lt=0.5,
        description="share of scans like those of training that may be marked as unlike them, as "
        "scans of another organ or sequence are; 0 marks none",
    )
    resample_channels: bool = Field(
        default=False,
        exclude_if=lambda given: not given,
        description="whether channels on other grids are put on that of the first, as the data "
        "spec may say it too; refused otherwise",
    )
    report: bool = Field(
        default=False,
        description="whether CASE_report.html is written too: the scan with mask and uncertainty "
        "in three planes to scroll, volumes, what the model is; and masks.html, by doubt",
    )
    save: tuple[Literal["labels", "probabilities", "entropy"], ...] = Field(
        default=("labels", "entropy"),
        description="what is written of each case: the mask, a map per class, where the "
        "network is unsure",
    )
    format: Format | None = Field(
        default=None,
        description="of masks and maps; null: nifti for volumes, png for pictures and tiff for "
        "those of several frames, whose maps are always tiff; png of a volume: CASE.png.zip with "
        "one for each slice; viewers of NIfTI refuse tilted CT; the forms of DICOM are for `medssl "
        "predict`",
    )
    series: dict[str, SeriesRule] = Field(
        default={},
        description="which series of a DICOM study a channel is, over the rules of the data spec",
    )


class MethodChoice(Section):
    """What the network learns by: a name, or `name`, `preset` and the method's own keys."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="see `medssl methods`")
    preset: str | None = Field(
        default=None, description="named settings of the method, which lie below its other keys"
    )

    @property
    def own(self) -> dict[str, Any]:
        """The keys that belong to the method itself."""
        return dict(self.model_extra or {})


class PipelineFile(Section):
    """What a pipeline of every family says.

    Attributes:
        earlier: keys of earlier versions, which are refused with a sentence of their own.
    """

    earlier: ClassVar[frozenset[str]] = frozenset()

    name: FileName = Field(description="names the run's folder")
    title: str = Field(default="", description="heads the report")
    seed: Seed = Field(default=0, ge=0, description="of splits, initial weights and all draws")
    method: MethodChoice
    train: Section
