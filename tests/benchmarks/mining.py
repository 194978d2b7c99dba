"""What mining costs: its share of a training step of Alice, and of the search alone.

    python -m tests.benchmarks.mining [PIPELINE [STEPS]]

The pipeline's own sizes on its own data, the embedding untrained (which changes no cost). Wall
seconds on one thread, batches drawn in the same thread as the step, so nothing hides behind it.
"""

import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from medssl.data.scan.matched_stream import MatchedStream, scans_of
from medssl.data.scan.sessions import prepare_sessions
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.families.pretrain.volumes import build_method
from medssl.infer.embed import EmbeddedScans
from medssl.methods.method import Progress
from medssl.networks.anatomical_embedding import build_embedder
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.train.update import make_update

CASES = 24


def main() -> None:
    torch.set_num_threads(1)
    name = sys.argv[1] if len(sys.argv) > 1 else "hippocampus_alice"
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    config = load_config(name)
    train = config.pipeline.train
    sources = [(spec, cases[:CASES]) for spec, cases in make_plan(config).train]
    sessions = prepare_sessions(sources, config.pipeline.preprocess, cache_root())
    method = build_method(config, sessions)
    device = choose_device(train.device)
    embedder = build_embedder(config.method.embedding.method.embedder, 0)
    embedded = EmbeddedScans(cache_root(), embedder, device)
    scans = scans_of(sessions)
    start = time.perf_counter()
    embedded.prepare(scans)
    print(f"vectors of {len(scans)} scans: {time.perf_counter() - start:.1f} s, once")
    views = config.method.views
    streams = {
        kind: MatchedStream(
            scans, views.model_copy(update={"partner": kind}), train.batch_pairs, train.patch, 0,
            embedded,
        )
        for kind in ("matched", "random")
    }  # fmt: skip
    update = make_update(method, train, 0, device)
    for scan in scans:
        embedded(scan)  # what a long run has in memory
    seconds = {"matched": 0.0, "random": 0.0, "step": 0.0}
    for number in range(steps + 1):
        took = {}
        for kind, stream in streams.items():
            start = time.perf_counter()
            batch = stream.batch(number)
            took[kind] = time.perf_counter() - start
        start = time.perf_counter()
        update({"pairs": batch}, Progress(number + 1, 100 * steps))
        took["step"] = time.perf_counter() - start
        if number:  # the first warms up
            seconds = {kind: seconds[kind] + took[kind] for kind in seconds}
    whole = seconds["step"] + seconds["matched"]
    search = seconds["matched"] - seconds["random"]
    print(
        f"{name}, {train.batch_pairs} pairs of {list(train.patch)} on {device}: "
        f"step {whole / steps:.3f} s; drawing pairs {seconds['matched'] / whole:.1%} of it, "
        f"mining alone {search / whole:.1%}"
    )


if __name__ == "__main__":
    main()
