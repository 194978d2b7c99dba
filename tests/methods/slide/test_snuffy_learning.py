"""Snuffy finds what makes a bag positive, and finds nothing where there is nothing."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from medssl.data.bags.bag import Bag, BagStream
from medssl.methods.method import Progress
from medssl.networks.selection import top_tokens
from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.update import make_update

WIDTH, TOKENS = 16, 20


def planted(count, seed):
    """Bags of 50-200 Gaussian patches; every second one holds 1-3 keys. And where they are."""
    rng = np.random.default_rng(seed)
    bags, keys = [], []
    for number in range(count):
        features = rng.normal(size=(rng.integers(50, 201), WIDTH)).astype(np.float32)
        found = rng.choice(len(features), rng.integers(1, 4), replace=False) if number % 2 else []
        features[found, :4] += 3
        bags.append(Bag(f"bag{number}", f"bag{number}", number % 2, features))
        keys.append(set(map(int, found)))
    return bags, keys


def shuffled(bags, seed):
    labels = np.random.default_rng(seed).permutation([bag.label for bag in bags])
    return [
        Bag(bag.id, bag.patient, int(label), bag.features)
        for bag, label in zip(bags, labels, strict=True)
    ]


def train(method, bags, steps):
    settings = LoopSettings(
        steps=steps,
        optimiser=OptimiserSettings(name="adamw", learning_rate=0.05, schedule="cosine"),
    )
    update = make_update(method, settings, 0, torch.device("cpu"))
    stream = BagStream(bags, 0)
    for step in range(1, steps + 1):
        update({"bags": stream.batch(step - 1)}, Progress(step, steps))
    return method.eval()


def auc(method, bags):
    predictor = method.predictor()
    with torch.inference_mode():
        scores = [predictor(torch.from_numpy(bag.features)).probability[1].item() for bag in bags]
    return roc_auc_score([bag.label for bag in bags], scores)


def make(build, **more):
    return build("snuffy", width=WIDTH, lambda_total=TOKENS, **more)


@pytest.mark.parametrize("mode", ["A", "B"])
def test_planted_keys_are_found_and_become_tokens(build, mode):
    method = train(make(build, mode=mode), planted(60, 0)[0], 240)
    bags, keys = planted(60, 1)
    assert auc(method, bags) > 0.98
    head = method.network.head
    for bag, places in zip(bags, keys, strict=True):
        best = top_tokens(head(torch.from_numpy(bag.features)), TOKENS // 2)
        assert places <= set(best.tolist())


def test_shuffled_labels_teach_nothing(build):
    """Scored against the true labels of other bags, where true labels give an AUC above 0.98."""
    bags = planted(60, 1)[0]
    found = [
        auc(train(make(build), shuffled(planted(60, 0)[0], seed), 240), bags) for seed in range(4)
    ]
    assert 0.3 < np.mean(found) < 0.7
    assert max(found) < 0.9
