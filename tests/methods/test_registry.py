"""What every registered method must do, whoever wrote it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medssl.data.batch import Batch
from medssl.errors import UsageError
from medssl.methods.method import Method, Progress, Task
from medssl.methods.registry import implementation, method_names, settings_class
from medssl.networks.settings import NetworkSettings
from tests.contract.training import training

SEGMENTING = training("segment")
PRESETS = [
    (name, preset) for name in SEGMENTING for preset in (None, *settings_class(name).presets)
]
PATCH = (8, 8, 8)
NETWORK = NetworkSettings(width=2, levels=2, dropout=0.5)


def make(name: str, preset: str | None = None, classes: int = 3, seed: int = 0) -> Method:
    kind = settings_class(name)
    settings = kind() if preset is None else kind.preset(preset)
    names = tuple(f"class{n}" for n in range(classes))
    method = implementation(settings)(settings, Task(("t1", "t2"), names, PATCH, NETWORK), seed)
    assert isinstance(method, Method)
    return method.train()


def batches(method: Method, classes: int = 3) -> dict[str, Batch]:
    """Two items per stream that the method asks for, cut as its sampler says."""
    g = torch.Generator().manual_seed(0)
    found = {}
    for stream in method.streams:
        starts = method.sampler(PATCH).draw((12, 12, 12), np.random.default_rng(0))
        image = torch.randn((2, len(starts), 2, *PATCH), generator=g)
        label = torch.randint(classes, (2, *PATCH), generator=g, dtype=torch.uint8)
        ids = (f"{stream}0", f"{stream}1")
        found[stream] = Batch(
            image, label if stream == "labelled" else None, torch.tensor([starts] * 2), ids
        )
    return found


def terms(method: Method, given: dict[str, Batch], seed: int = 0) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    for part in range(method.parts):
        fresh = method(given, Progress(5, 100), generator, part)
        assert not set(fresh) & set(found)
        found |= fresh
    return found


def test_the_segmentation_methods_are_registered():
    assert {"supervised", "mean_teacher", "cps", "tracoco"} <= set(method_names())
    assert method_names() == sorted(method_names())


def test_tracoco_has_its_presets():
    presets = {"supervised", "cps", "tracoco_released", "tracoco"}
    assert set(settings_class("tracoco").presets) == presets


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"no method is called 'tracocoo'.*tracoco"):
        settings_class("tracocoo")


def test_settings_of_all_methods_are_read_without_torch():
    code = (
        "import sys\n"
        "from medssl.methods.registry import method_names, settings_class\n"
        "for name in method_names(): settings_class(name)()\n"
        "sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", method_names())
def test_settings_say_what_the_method_is(name):
    kind = settings_class(name)
    assert kind.summary
    assert len(kind.summary) < 80
    assert kind.paper
    with pytest.raises(ValidationError, match="no_such_key"):
        kind(no_such_key=1)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_part_gives_finite_scalars_that_teach_its_networks(name, preset):
    method = make(name, preset)
    found = terms(method, batches(method))
    assert all(term.ndim == 0 and torch.isfinite(term) for term in found.values())
    sum(found.values()).backward()
    for network in method.networks():
        gradients = [p.grad for p in network.parameters() if p.requires_grad]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
        assert any(g.abs().max() > 0 for g in gradients)


@pytest.mark.parametrize("name", SEGMENTING)
def test_networks_together_hold_all_that_is_trained(name):
    """So that the loop optimises and clips every weight once."""
    method = make(name)
    trained = [id(p) for n in method.networks() for p in n.parameters() if p.requires_grad]
    assert sorted(trained) == sorted(id(p) for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", SEGMENTING)
def test_all_randomness_comes_from_what_is_handed_in(name):
    method = make(name)
    given = batches(method)
    values = [{n: t.item() for n, t in terms(method, given, s).items()} for s in (0, 0, 1)]
    assert values[0] == values[1]
    assert values[0] != values[2]


@pytest.mark.parametrize("name", SEGMENTING)
def test_the_seed_decides_the_weights(name):
    first, same, other = (make(name, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", SEGMENTING)
def test_the_given_batch_is_left_as_it_was(name):
    method = make(name)
    given = batches(method)
    terms(method, given)
    for stream, batch in batches(method).items():
        assert torch.equal(batch.image, given[stream].image)


@pytest.mark.parametrize("name", SEGMENTING)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_predictor_maps_images_to_logits_of_any_divisible_size(name, classes):
    method = make(name, classes=classes).eval()
    method.after_step(Progress(1, 10))
    with torch.no_grad():
        logits = method.predictor()(torch.zeros(1, 2, 8, 4, 12))
    assert logits.shape == (1, classes, 8, 4, 12)
    assert torch.isfinite(logits).all()
