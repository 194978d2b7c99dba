"""Alice and its embedding as stages: what each leaves behind, and what they share."""

import json

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from medssl.data.geometry import Geometry
from medssl.data.scan.sessions import prepare_sessions
from medssl.data.split import patient_key
from medssl.data.volume import write_volume
from medssl.errors import DataError, UsageError
from medssl.families.pretrain.matched import embedding_plan
from medssl.families.pretrain.probe import draw_partners
from medssl.families.segment.start import load_start
from medssl.named_files import PIPELINES
from medssl.networks.build import build_encoder
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import carry_out_plan, run
from medssl.pipeline.study import load_study
from medssl.pipeline.study_run import run_study
from medssl.train.description import WEIGHTS
from medssl.train.embedder_checkpoint import load_embedder, read_embedder
from medssl.train.encoder_checkpoint import load_encoder_weights, read_encoder
from medssl.transforms.chain import Preprocess

PIPELINE = """
title: Alice on balls
data: [balls]
network: {name: conv_fpn, width: 4, levels: 2, decoder_width: 4, dropout: 0}
preprocess: {}
method:
  name: alice
  masking: {side: 4}
  head: {hidden: 8, bottleneck: 8, outputs: 8}
  within: {hidden: 8, heads: 2}
  views: {candidates: 4, margin: 2}
  embedding:
    steps: 2
    patch: [16, 16, 16]
    method: {embedder: {width: 4, features: 4}, fine: {queries: 8}, coarse: {queries: 2}}
train: {steps: 3, patch: [8, 8, 8], batch_pairs: 2, validate_every: 3, device: cpu}
probe: {patients: 2, windows: 4, shots: 1, neighbours: 1, pictures: 2}
"""


@pytest.fixture
def alice(balls):
    """Working directory with the pipeline `balls_alice` beside the data."""
    (balls / "pipelines" / "balls_alice.yaml").write_text(PIPELINE)
    return balls


def plan(*overrides):
    return make_plan(load_config("balls_alice", overrides))


def test_alice_first_trains_its_embedding_then_mines_and_hands_on_an_encoder(alice):
    chosen = plan()
    folder = carry_out_plan(chosen, QuietReporter())["model"]
    stages = sorted((alice / "runs" / "balls_alice").glob("pretrain-*"))
    assert len(stages) == 2
    embedding = embedding_plan(chosen, chosen.config.method.needs())
    assert embedding.last.done
    found = {path.resolve() for path in (embedding.last.folder, chosen.last.folder)}
    assert found == set(stages)
    assert embedding.cohort.train == chosen.cohort.train
    embedder, described = load_embedder(embedding.model)
    assert described.seen == chosen.cohort.seen == read_encoder(folder).seen
    assert described.embedder.features == embedder.settings.features == 4
    weights, found = load_encoder_weights(folder)
    assert found.method["name"] == "alice"
    fresh = build_encoder(chosen.config.pipeline.network, 1, 0)
    assert weights.keys() == fresh.state_dict().keys()
    assert list((alice / ".cache" / "medssl" / "embeddings").rglob("fine.npy"))


@pytest.mark.parametrize("given", [False, True])
def test_negatives_of_the_same_anatomy_are_barred_by_the_embedding(alice, given):
    words = ["method.views.overlap=0.25"]
    if given:
        folder = embedding_plan(plan(), plan().config.method.needs())
        carry_out_plan(folder, QuietReporter())
        words.append(f"method.embedding.checkpoint={folder.model}")
    chosen = plan(*words)
    assert chosen.last.folder != plan(*words[1:]).last.folder
    carry_out_plan(chosen, QuietReporter())
    logged = (chosen.last.folder / "metrics.jsonl").read_text()
    assert "barred" in logged


def test_what_bars_no_negatives_is_refused(alice):
    with pytest.raises(UsageError, match=r"set method\.views\.partner=matched and method\.between"):
        plan("method.views.overlap=0.25", "method.views.partner=random")
    with pytest.raises(UsageError, match="bars negatives, and gmml has none"):
        load_config(
            "balls_alice", ["method={name: gmml, views: {overlap: 0.2}, corruption: {align: 1}}"]
        )


def test_the_embeddings_probes_are_errors_in_mm_and_a_picture(alice):
    chosen = embedding_plan(plan(), plan().config.method.needs())
    carry_out_plan(chosen, QuietReporter())
    kept = json.loads((chosen.last.folder / "probes.json").read_text())
    found = {f"{what}{matcher}_mm" for what in ("centroid", "centroid_cut")
             for matcher in ("", "_bounding_box", "_random")}  # fmt: skip
    assert set(kept) == {"untrained", "trained"}
    assert set(kept["trained"]) == found | {"moved_mm", "moved_same_voxel_mm"}
    assert all(0 <= value < 40 for value in kept["trained"].values())
    pictures = list((chosen.last.folder / "pictures").glob("matches_*.png"))
    assert pictures[0].read_bytes()[:4] == b"\x89PNG"


def test_windows_of_an_embedding_need_not_suit_a_network_it_does_not_use(alice):
    words = ["method=anatomical_embedding", "method.embedder.width=4", "method.embedder.features=4"]
    words += ["train.patch=[24,16,16]", "train.steps=1", "network.levels=5", "probe.patients=0"]
    assert carry_out_plan(plan(*words), QuietReporter())["model"].is_dir()


def test_alice_is_asked_whether_a_window_finds_its_place_in_another_patient(alice):
    chosen = plan("method.views.partner=same_volume")
    carry_out_plan(chosen, QuietReporter())
    kept = json.loads((chosen.last.folder / "probes.json").read_text())
    for name in ("untrained", "trained", "untrained, head", "trained, head"):
        assert kept[name]["partners"] == 2 * 4
        assert 0 <= kept[name]["partner_top1"] <= kept[name]["partner_top5"] <= 1
    alone = plan("method.views.partner=same_volume", "probe.patients=1")
    carry_out_plan(alone, QuietReporter())
    kept = json.loads((alone.last.folder / "probes.json").read_text())
    assert "partners" not in kept["trained"]


def test_partners_show_one_relative_place_of_two_patients(alice):
    for number, path in enumerate(sorted((alice / "data" / "balls").glob("c?.nii.gz"))):
        grid = Geometry((9 + number, 12 + number, 11 + 2 * number), np.eye(4))
        place = np.indices(grid.shape) / (np.array(grid.shape) - 1)[:, None, None, None]
        write_volume((place[0] + 10 * place[1] + 100 * place[2]).astype(np.float32), grid, path)
    cases = make_plan(load_config("balls_alice")).cohort.probed
    plain = Preprocess.of({"mr": {"intensity": "none"}})
    sessions = prepare_sessions(cases, plain, alice / ".cache")
    first, second = draw_partners(sessions, (1, 1, 1), windows=6, seed=0)
    assert first.shape == second.shape == (12, 1, 1, 1, 1)
    for one, other in zip(first.flatten().tolist(), second.flatten().tolist(), strict=True):
        # A relative place is found to half a voxel of each axis.
        assert abs(one - other) <= 0.5 * (100 / 10 + 10 / 11 + 1 / 8)
    assert np.std(first.flatten().tolist()) > 15  # places differ far more than that


def test_arms_share_the_embedding_and_controls_train_none(alice):
    one = embedding_plan(plan(), plan().config.method.needs()).last
    for other in ("method.within.align=false", "train.steps=9", "network.width=8"):
        found = plan(other)
        assert found.last.folder != plan().last.folder
        if not other.startswith("network"):
            assert embedding_plan(found, found.config.method.needs()).last.folder == one.folder
    carry_out_plan(plan("method.views.partner=same_volume"), QuietReporter())
    assert len(list((alice / "runs" / "balls_alice").glob("pretrain-*"))) == 1


def test_a_given_embedding_is_used_and_its_patients_count_as_seen(alice):
    given = carry_out_plan(
        make_plan(load_config(
                "balls_alice",
                ["method=anatomical_embedding", "method.embedder.width=4",
                 "method.embedder.features=4", "train.patch=[16,16,16]", "probe.patients=0"],
            )
        ),
        QuietReporter(),
    )["model"]  # fmt: skip
    assert len(read_embedder(given).seen) == 8
    chosen = plan(f"method.embedding.checkpoint={given}")
    assert chosen.cohort.seen == read_embedder(given).seen
    assert len(plan().cohort.seen) == 6
    carry_out_plan(chosen, QuietReporter())
    assert len(list((alice / "runs" / "balls_alice").glob("pretrain-*"))) == 2
    with pytest.raises(UsageError, match=r"the embedding in .* does not fit: .*FieldSpacingd"):
        carry_out_plan(
            plan(f"method.embedding.checkpoint={given}", "preprocess.mr.spacing=[1,1,1]"),
            QuietReporter(),
        )["model"]
    with pytest.raises(UsageError, match="is an anatomical embedding"):
        read_encoder(given)
    encoder = carry_out_plan(chosen, QuietReporter())["model"]
    with pytest.raises(UsageError, match="is no anatomical embedding"):
        read_embedder(encoder)


def test_a_damaged_embedding_is_refused_in_a_sentence(alice):
    chosen = embedding_plan(plan("probe.patients=0"), plan().config.method.needs())
    folder = carry_out_plan(chosen, QuietReporter())["model"]
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9])
    with pytest.raises(DataError, match=r"weights\.safetensors is damaged"):
        load_embedder(folder)


def test_segmentation_starts_from_alice_in_one_pipeline_without_its_test_patients(alice):
    config = load_config(
        "balls",
        ["pretrain=balls_alice", "network.name=conv_fpn", "network.width=4",
         "network.decoder_width=4"],
    )  # fmt: skip
    done = run(config, QuietReporter())
    split = json.loads(next((alice / "runs" / "balls").glob("train-*/split.json")).read_text())
    encoders = sorted((alice / "runs" / "balls_alice").glob("pretrain-*/checkpoint/last"))
    tested = {patient_key("balls", case) for case in split["test"]}
    for folder in encoders:
        seen = yaml.safe_load((folder / "checkpoint.json").read_text())["seen"]
        assert not tested & set(seen)
    assert load_file(done["model"] / WEIGHTS)


class Telling(QuietReporter):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def note(self, text):
        self.told.append(text)


def test_a_network_of_its_decoder_starts_from_the_decoder_too(alice):
    folder = carry_out_plan(plan("method.views.partner=same_volume"), QuietReporter())["model"]
    words = ["network.name=conv_fpn", "network.width=4", "network.levels=2"]

    def start(*more):
        reporter = Telling()
        config = load_config("balls", [f"pretrain.checkpoint={folder}", *words, *more])
        return load_start(config, reporter), "\n".join(reporter.told)

    found, told = start("network.decoder=skip")
    assert "its decoder: 100.0% of the parameters matched" in told
    assert "2 unexpected (voxels." in told
    assert set(found.encoder.decoder) == set(load_file(folder / "decoder.safetensors"))
    found, told = start("network.decoder=skip", "pretrain.decoder=false")
    assert found.encoder.decoder is None
    assert "left out, as pretrain.decoder=false" in told
    found, told = start()
    assert found.encoder.decoder is None
    assert "decoder" not in told
    (folder / "decoder.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match=r"decoder\.safetensors is damaged"):
        start("network.decoder=skip")


def test_an_encoder_of_one_level_is_refused(alice):
    with pytest.raises(UsageError, match="aligns tokens of two levels, and this encoder has one"):
        plan("network=primus")


def test_one_patient_alone_is_told_what_to_do(alice):
    for path in (alice / "data" / "balls").glob("c[1-7]*"):
        path.unlink()
    with pytest.raises(DataError, match="no scan has a partner of another patient"):
        carry_out_plan(plan("probe.patients=0", "method.views.partner=random"), QuietReporter())[
            "model"
        ]


def test_a_study_of_labels_tells_what_its_encoders_know(alice):
    (alice / "pipelines" / "balls_alice_study.yaml").write_text(
        "{pipeline: balls, labels: [3, 4], seeds: [0], reference: scratch, arms: {scratch: [], "
        "random: [pretrain=balls_alice, 'pretrain.set=[method.views.partner=random]', "
        "network.name=conv_fpn, network.width=4, network.decoder_width=4]}}"
    )
    run_study(load_study("balls_alice_study"), QuietReporter())
    folder = alice / "runs" / "balls" / "study-balls_alice_study"
    encoders = (folder / "summary.md").read_text().split("## Encoders")[1]
    rows = [line.split("|")[1:3] for line in encoders.splitlines() if line.startswith("| ")]
    assert [(name.strip(), seeds.strip()) for name, seeds in rows] == [
        ("arm", "seeds"), ("untrained", "1"), ("untrained, head", "1"), ("random", "1"),
        ("random, head", "1"),
    ]  # fmt: skip
    assert "partner, top-1" in encoders


@pytest.mark.parametrize(
    "name", ["hippocampus_alice", "left_atrium_alice", "left_atrium_alice_paper"]
)
def test_shipped_pipelines_are_complete(name):
    config = load_config(name)
    assert config.method.paper.startswith("Jiang")


@pytest.mark.parametrize("organ", ["hippocampus", "left_atrium"])
@pytest.mark.parametrize("kind", ["alice", "probe"])
def test_shipped_studies_name_arms_that_load_and_share_encoders(organ, kind):
    study = load_study(f"{organ}_{kind}_study")
    few = load_study(f"{organ}_alice_study")
    assert PIPELINES.find(study.pipeline).is_file()
    for name, overrides in study.arms.items():
        assert overrides == few.arms[name]
        chosen = load_config(study.pipeline, list(overrides)).pipeline
        own = load_config(f"{organ}_alice")
        assert chosen.network.encoder() == own.pipeline.network.encoder()
        assert chosen.preprocess == own.pipeline.preprocess.uncropped  # but for its default crop
        if chosen.pretrain is not None:
            load_config(chosen.pretrain.pipeline, chosen.pretrain.set)


@pytest.mark.parametrize("organ", ["hippocampus", "left_atrium"])
def test_the_embedding_on_its_own_is_that_of_alice(organ, shared_data):
    alice = make_plan(load_config(f"{organ}_alice"))
    inner = embedding_plan(alice, alice.config.method.needs()).config
    own = load_config(f"{organ}_embedding")
    assert own.method == inner.method
    assert own.pipeline.preprocess == inner.pipeline.preprocess
    train, other = own.pipeline.train, inner.pipeline.train
    assert (train.steps, train.patch, train.batch_scans) == (
        other.steps, other.patch, other.batch_scans,
    )  # fmt: skip
    assert train.optimiser == other.optimiser
