"""What every grading method promises, with networks of MONAI in place of ours."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from medssl.data.radiograph.augment import evaluation_view
from medssl.networks.monai_grader_settings import MonaiGraderSettings
from medssl.train.update import make_update
from tests.contract.killing import check_that_a_kill_changes_nothing
from tests.contract.test_grade_methods import (
    SEED,
    SIDE,
    Knees,
    Progress,
    batches,
    constant,
    every_method,
    loss_terms,
    make,
    train,
)

NETWORKS = {
    "densenet": {
        "name": "monai:DenseNet121",
        "norm": ["group", {"num_groups": 2}],
        "init_features": 4,
        "growth_rate": 4,
        "block_config": [1, 1],
    },
    "vit": {
        "name": "monai:ViT",
        "patch_size": 8,
        "hidden_size": 12,
        "mlp_dim": 12,
        "num_layers": 1,
        "num_heads": 2,
        "side": SIDE,
    },
    "classifier": {"name": "monai:Classifier", "channels": [4, 4], "strides": [2, 2], "side": SIDE},
    "resnet, batch norms": {
        "name": "monai:ResNet",
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "block_inplanes": [4, 4, 8, 8],
    },
}

every_network = pytest.mark.parametrize("kind", NETWORKS)


def monai(kind, **more):
    return MonaiGraderSettings(**NETWORKS[kind], **more)


@every_method
@every_network
def test_every_parameter_that_is_used_gets_a_finite_gradient(name, kind):
    method = make(name, network=monai(kind, dropout=0.1)).train()
    for number in range(3):
        found = loss_terms(method, batches(method, number), seed=number)
        sum(found.values()).backward()
    for key, parameter in method.named_parameters():
        if parameter.requires_grad and "cross_attn" not in key:  # MONAI's ViT never uses its own
            assert parameter.grad is not None, key
            assert bool(parameter.grad.isfinite().all()), key
            assert bool(parameter.grad.any()), key


@every_method
@every_network
def test_an_answer_does_not_depend_on_the_batch_and_is_kept_by_a_file(name, kind, tmp_path):
    one, other = (
        make(name, seed=seed, network=monai(kind)).eval().predictor().eval() for seed in (SEED, 77)
    )
    image = evaluation_view(Knees("labelled").batch(0).image)
    save_file(one.state_dict(), tmp_path / "weights.safetensors")
    with torch.inference_mode():
        logits = one(image)
        assert not torch.equal(other(image), logits)
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(other(image), logits)
        torch.testing.assert_close(one(image[2:3]), logits[2:3])
        torch.testing.assert_close(one.train().eval()(image), logits)


@every_network
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one(kind, tmp_path):
    check_that_a_kill_changes_nothing(
        lambda seed, state, last: train(
            make("semixup", seed=seed, network=monai(kind)), state, last
        ),
        tmp_path,
        5,
    )


@every_network
def test_training_teaches_the_labelled_images(kind):
    network = monai(kind, dropout=0)
    method = make("supervised_grading", network=network)
    update = make_update(method, constant(40, 1e-2), 0, torch.device("cpu"))
    same = batches(method)
    losses = [update(same, Progress(step, 40))["loss"] for step in range(1, 41)]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
