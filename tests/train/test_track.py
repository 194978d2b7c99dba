"""Numbers of a run: the journal always, MLflow on top, and neither lost nor doubled."""

import json
import logging
import math
import os
import signal
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from medssl.errors import DataError, Stopped
from medssl.stop import listening
from medssl.train import mlflow_store, track
from medssl.train.jsonl_log import Journal, read_log
from medssl.train.mlflow_run import alone
from medssl.train.track import METRICS, Tracker, deliver, is_delivered
from medssl.train.tracking import TRACKING


@pytest.fixture(autouse=True)
def _first_command(monkeypatch):
    """No store has been found away or was warned of, as when a command begins."""
    monkeypatch.setattr(mlflow_store, "_away", {})
    monkeypatch.setattr(mlflow_store, "_warned", set())
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # so that it is put back


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One MLflow store for all tests: making its tables takes seconds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def client(store, monkeypatch):
    """MLflow's own view of the default store, which lies in the runs' folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MEDSSL_RUNS", str(store))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    with _tracker(store / "warm-up"):
        pass
    return MlflowClient(f"sqlite:///{store / 'mlflow.db'}")


class Server(ThreadingHTTPServer):
    """As much of an MLflow server as a run needs.

    Attributes:
        runs: status, tags and numbers (name, step, value) of each, by id.
        users: what callers said who they are.
        asked: how often anything was asked.
    """

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Answers)
        self.runs, self.users, self.asked = {}, set(), 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def by_name(self, name):
        (found,) = (run for run in self.runs.values() if run["tags"]["mlflow.runName"] == name)
        return found

    def close(self):
        self.shutdown()
        self.server_close()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(None)

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        self._answer(json.loads(self.rfile.read(length) or "{}"))

    def log_message(self, *_): ...

    def _answer(self, given):
        server, path = self.server, urlsplit(self.path)
        server.asked += 1
        server.users.add(self.headers.get("Authorization"))
        text = json.dumps(self._found(path.path.rpartition("mlflow/")[2], path.query, given))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _found(self, what, query, given):
        runs = self.server.runs
        if what == "experiments/get-by-name":
            return {"experiment": {"experiment_id": "1", "name": "hippocampus"}}
        if what == "runs/create":
            run_id = f"run{len(runs)}"
            tags = {tag["key"]: tag["value"] for tag in given["tags"]}
            tags["mlflow.runName"] = given["run_name"]
            runs[run_id] = {"id": run_id, "status": "RUNNING", "tags": tags, "numbers": []}
            return {"run": self._run(run_id)}
        run_id = given["run_id"] if given else parse_qs(query)["run_id"][0]
        if what == "runs/update":
            runs[run_id]["status"] = given["status"]
        if what == "runs/log-batch":
            numbers = [(one["key"], one["step"], one["value"]) for one in given.get("metrics", [])]
            runs[run_id]["numbers"] += numbers
        return {"run": self._run(run_id), "run_info": self._run(run_id)["info"]}

    def _run(self, run_id):
        run = self.server.runs[run_id]
        tags = [{"key": key, "value": value} for key, value in run["tags"].items()]
        info = {
            "run_id": run_id,
            "run_uuid": run_id,
            "experiment_id": "1",
            "status": run["status"],
            "lifecycle_stage": "active",
            "artifact_uri": "/nowhere",
        }
        return {"info": info, "data": {"tags": tags}}


@pytest.fixture
def port():
    """A port at which nobody listens yet."""
    server = Server()
    server.close()
    return server.port


@pytest.fixture
def away(port, monkeypatch):
    """The address of a server that is away; `Server(port)` brings it back."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://doctor:s3%23cret@127.0.0.1:{port}")


@pytest.fixture
def dead_store(monkeypatch):
    """A server that nobody runs: port 9 discards."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://doctor:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def _tracker(folder, parent=None, params=None, tags=None):
    return Tracker(folder, "hippocampus", folder.name, parent, params or {}, tags or {})


def _history(client, run_id, name):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def test_a_run_holds_settings_facts_numbers_and_files(client, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "one.txt").write_text("1")
    (tmp_path / "report.html").write_text("<p>")
    params = {"train.steps": 5, "encoder": None} | {f"key{number}": number for number in range(120)}
    with _tracker(tmp_path / "train-1", params=params, tags={"split": "abc"}) as tracker:
        tracker.metrics(1, {"loss": 2.0, "dice/left atrium": 0.5})
        tracker.metrics(2, {"loss": 1.0})
        tracker.artifact(tmp_path / "weights", "checkpoint")
        tracker.artifact(tmp_path / "report.html")
        tracker.tag("best", "2")
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "train-1"
    assert len(run.data.params) == 122
    assert (run.data.params["train.steps"], run.data.params["encoder"]) == ("5", "None")
    assert (run.data.tags["split"], run.data.tags["best"]) == ("abc", "2")
    assert run.data.tags["folder"] == f"{tmp_path.name}/train-1"
    assert _history(client, tracker.run_id, "loss") == [(1, 2.0), (2, 1.0)]
    assert _history(client, tracker.run_id, "dice/left atrium") == [(1, 0.5)]
    assert {file.path for file in client.list_artifacts(tracker.run_id)} == {
        "checkpoint",
        "report.html",
    }
    assert client.list_artifacts(tracker.run_id, "checkpoint")[0].path == "checkpoint/one.txt"


def test_artifacts_lie_beside_the_default_store(client, store, tmp_path):
    with _tracker(tmp_path / "run") as tracker:
        pass
    where = client.get_run(tracker.run_id).info.artifact_uri
    assert where.startswith((store / "mlartifacts" / "hippocampus").as_uri())


def test_stages_are_nested_below_their_pipeline_run(client, tmp_path):
    with (
        _tracker(tmp_path / "run") as whole,
        _tracker(tmp_path / "train", parent="run") as stage,
    ):
        pass
    assert client.get_run(stage.run_id).data.tags["mlflow.parentRunId"] == whole.run_id


@pytest.mark.parametrize(
    ("error", "status"),
    [(Stopped("a signal"), "KILLED"), (KeyboardInterrupt(), "KILLED"), (ValueError(), "FAILED")],
    ids=["stopped", "interrupted", "failed"],
)
def test_how_a_stage_ended_is_the_status(client, tmp_path, error, status):
    with pytest.raises(type(error)), _tracker(tmp_path / "run") as tracker:
        raise error
    assert client.get_run(tracker.run_id).info.status == status


def test_a_failed_run_says_why_until_it_is_mended(client, tmp_path):
    def tags():
        return client.get_run(tracker.run_id).data.tags

    failure = DataError("the scan of c3 is empty", "it lies in /data/Qvortrup Ada", "leave it out")
    with pytest.raises(DataError), _tracker(tmp_path / "run") as tracker:
        raise failure
    assert tags()["failure"] == "the scan of c3 is empty; leave it out"
    assert tags()["mlflow.note.content"] == tags()["failure"], "whole, at the head of its page"
    assert "Qvortrup" not in (tmp_path / "run" / TRACKING).read_text()
    with pytest.raises(Stopped), _tracker(tmp_path / "run") as tracker:
        raise Stopped("a signal")
    with _tracker(tmp_path / "run") as tracker:
        pass
    assert not {"failure", "mlflow.note.content"} & set(tags())
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_an_experiment_brings_a_view_of_what_people_compare(client, tmp_path):
    with _tracker(tmp_path / "run"):
        pass
    tags = client.get_experiment_by_name("hippocampus").tags
    view = json.loads(tags["mlflow.sharedViewState.scores"])
    assert view["name"] == "scores"
    columns = json.loads(view["state"])["selectedColumns"]
    assert {"metrics.`test/score`", "tags.`labels`", "tags.`failure`"} < set(columns)


DATA = {"name": "balls", "digest": "ab", "source": "{}", "profile": '{"cases": 8}'}
MODEL = {"name": "cps", "type": "x", "step": 3, "tags": {"checkpoint": "checkpoint/last"}}


def test_data_and_models_are_entries_of_their_own(client, tmp_path):
    data = [{**DATA, "context": "train"}]
    for _ in range(2):  # a finished stage that is carried out again makes no second model
        with Tracker(
            tmp_path / "train-1", "hippocampus", "t", None, {"a": 1}, {}, data, MODEL
        ) as trained:
            pass
    uses = ["../train-1/checkpoint/last"]
    with Tracker(tmp_path / "eval", "hippocampus", "e", None, {}, {}, data, None, uses) as scored:
        pass
    (made,) = client.get_run(trained.run_id).outputs.model_outputs
    model = client.get_logged_model(made.model_id)
    assert (model.name, model.status, model.source_run_id) == ("cps", "READY", trained.run_id)
    assert (made.step, model.params, model.tags["checkpoint"]) == (3, {"a": "1"}, "checkpoint/last")
    inputs = client.get_run(scored.run_id).inputs
    assert [one.model_id for one in inputs.model_inputs] == [made.model_id]
    for run in (trained, scored):
        (found,) = client.get_run(run.run_id).inputs.dataset_inputs
        assert (found.dataset.name, found.dataset.digest) == ("balls", "ab")
        assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "train"}


def test_data_and_models_are_sent_later_too(client, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        given = [{**DATA, "context": "train"}], MODEL
        with Tracker(tmp_path / "train-1", "hippocampus", "t", None, {}, {}, *given):
            pass
    run = client.get_run(deliver(tmp_path / "train-1"))
    assert len(run.inputs.dataset_inputs) == len(run.outputs.model_outputs) == 1


def test_a_store_that_knows_no_models_keeps_the_run_all_the_same(port, tmp_path, monkeypatch):
    server = Server(port)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    given = [{**DATA, "context": "train"}], MODEL
    with Tracker(tmp_path / "train-1", "hippocampus", "t", None, {}, {}, *given) as tracker:
        tracker.metrics(1, {"loss": 0.5})
    server.close()
    assert server.by_name("t")["numbers"] == [("loss", 1, 0.5)]
    assert is_delivered(tmp_path / "train-1")


def test_a_resumed_stage_continues_its_run_and_replaces_repeated_steps(client, tmp_path):
    first = _tracker(tmp_path / "run", params={"threads": 1})
    with first:
        for step in (10, 20, 30):
            first.metrics(step, {"loss": 1.0 / step})
    with _tracker(tmp_path / "run", params={"threads": 2}) as second:
        assert client.get_run(second.run_id).info.status == "RUNNING"
        for step in (20, 30, 40):
            second.metrics(step, {"loss": 1.0 / step})
    assert second.run_id == first.run_id
    assert client.get_run(second.run_id).info.status == "FINISHED"
    assert [entry.step for entry in read_log(tmp_path / "run" / METRICS)] == [10, 20, 30, 40]
    assert set(_history(client, second.run_id, "loss")) == {(s, 1.0 / s) for s in (10, 20, 30, 40)}


def test_what_a_kill_kept_from_mlflow_is_sent_on_resume(client, tmp_path):
    killed = _tracker(tmp_path / "run").__enter__()
    killed.metrics(1, {"loss": 3.0})  # not sent yet: the batch is not due
    assert _history(client, killed.run_id, "loss") == []
    with _tracker(tmp_path / "run") as tracker:
        tracker.metrics(2, {"loss": 2.0})
    assert _history(client, tracker.run_id, "loss") == [(1, 3.0), (2, 2.0)]


def test_a_store_that_lost_the_run_gets_a_new_one_with_all_numbers(client, tmp_path):
    with _tracker(tmp_path / "run") as first:
        first.metrics(1, {"loss": 3.0})
    client.delete_run(first.run_id)
    with _tracker(tmp_path / "run") as second:
        second.metrics(2, {"loss": 2.0})
    assert second.run_id != first.run_id
    assert _history(client, second.run_id, "loss") == [(1, 3.0), (2, 2.0)]


def test_a_dead_server_costs_one_warning_and_no_numbers(dead_store, tmp_path, caplog):
    with caplog.at_level(logging.WARNING), _tracker(tmp_path / "run") as tracker:
        tracker.metrics(1, {"loss": 3.0})
        tracker.artifact(tmp_path)
        tracker.tag("a", "b")
    assert tracker.run_id is None
    assert [entry.values for entry in read_log(tmp_path / "run" / METRICS)] == [{"loss": 3.0}]
    said = [record.getMessage() for record in caplog.records if "medssl" in record.name]
    assert len(said) == 1
    assert "127.0.0.1:9 fails" in said[0]
    assert "secret" not in said[0]


def test_a_finished_stage_is_sent_by_the_next_command_that_finds_the_server(
    away, port, tmp_path, monkeypatch
):
    with _tracker(tmp_path / "run") as whole, _tracker(tmp_path / "train", parent="run") as stage:
        stage.metrics(1, {"loss": 3.0})
        stage.tag("best", "1")
        whole.metrics(1, {"dice": 0.5})
    assert stage.run_id is None
    assert not is_delivered(tmp_path / "train")
    before = (tmp_path / "train" / TRACKING).stat().st_mtime_ns
    deliver(tmp_path / "train")
    assert (tmp_path / "train" / TRACKING).stat().st_mtime_ns == before
    monkeypatch.setattr(mlflow_store, "_away", {})
    server = Server(port)
    for _ in range(2):
        for name in ("train", "run"):
            deliver(tmp_path / name)
    run, train = server.by_name("run"), server.by_name("train")
    assert (train["status"], train["numbers"]) == ("FINISHED", [("loss", 1, 3.0)])
    assert (run["status"], run["numbers"]) == ("FINISHED", [("dice", 1, 0.5)])
    assert train["tags"]["mlflow.parentRunId"] == run["id"]
    assert train["tags"]["best"] == "1"
    asked = server.asked
    deliver(tmp_path / "train")
    assert server.asked == asked
    server.close()


def test_a_server_that_comes_back_is_sent_everything_by_the_stage_itself(
    away, port, tmp_path, monkeypatch
):
    with _tracker(tmp_path / "run"), _tracker(tmp_path / "train", parent="run") as stage:
        stage.metrics(1, {"loss": 3.0})
        server = Server(port)
        monkeypatch.setattr(mlflow_store, "_away", {})
        stage._due = 0.0
        stage.metrics(2, {"loss": 2.0})
        stage.metrics(3, {"loss": 1.0})
    assert server.by_name("train")["numbers"] == [("loss", s, 4.0 - s) for s in (1, 2, 3)]
    assert [run["status"] for run in server.runs.values()] == ["FINISHED", "FINISHED"]
    assert server.by_name("train")["tags"]["mlflow.parentRunId"] == server.by_name("run")["id"]
    server.close()


def test_a_server_that_never_answers_is_waited_for_once(port, tmp_path, monkeypatch):
    import socket

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(mlflow_store, "PATIENCE_S", 0.5)
    track.load_client()
    with socket.create_server(("127.0.0.1", port)):
        began = time.monotonic()
        for name in ("train", "predict", "evaluate"):
            with _tracker(tmp_path / name) as tracker:
                tracker.metrics(1, {"loss": 3.0})
        assert time.monotonic() - began < 1.5


def test_nobody_but_the_server_hears_the_password(away, port, tmp_path, monkeypatch, capfd, caplog):
    """In an address, # is written %23."""
    with caplog.at_level(logging.DEBUG), _tracker(tmp_path / "before"):
        pass
    monkeypatch.setattr(mlflow_store, "_away", {})
    server = Server(port)
    with _tracker(tmp_path / "run") as tracker:
        tracker.metrics(1, {"loss": 3.0})
    server.close()
    assert server.users == {"Basic " + b64encode(b"doctor:s3#cret").decode()}
    out, err = capfd.readouterr()
    written = "".join((tmp_path / name / TRACKING).read_text() for name in ("before", "run"))
    for text in (out, err, caplog.text, written, os.environ["MLFLOW_TRACKING_URI"]):
        assert "cret" not in text
    assert out == ""


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "[" * 100_000,
        '{"complete": false, "owed": 3}',
        '{"complete": false, "owed": ["a"]}',
        '"run"',
    ],
)
def test_a_damaged_record_is_begun_anew(client, tmp_path, text):
    (tmp_path / TRACKING).write_text(text)
    assert deliver(tmp_path) is None
    with _tracker(tmp_path) as tracker:
        tracker.metrics(1, {"loss": 3.0})
    assert _history(client, tracker.run_id, "loss") == [(1, 3.0)]


def test_a_stop_while_the_store_is_opened_leaves_no_run_open(client, tmp_path, monkeypatch):
    begin = track.begin_run

    def slow(*given):
        found = begin(*given)
        os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(track, "begin_run", slow)
    with pytest.raises(Stopped), listening(), _tracker(tmp_path / "run"):
        pytest.fail("began")
    run_id = json.loads((tmp_path / "run" / TRACKING).read_text())["run_id"]
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_server_that_dies_on_the_way_is_sent_what_it_missed(client, tmp_path, monkeypatch):
    from medssl.train.mlflow_run import MlflowRun

    def refuse(self, entries):
        raise ConnectionError

    with _tracker(tmp_path / "run") as tracker:
        with monkeypatch.context() as down:
            down.setattr(MlflowRun, "send", refuse)
            down.setattr("medssl.train.track.SEND_EVERY_S", 0.0)
            tracker._due = 0.0
            tracker.metrics(1, {"loss": 3.0})
            tracker.metrics(2, {"loss": 2.0})
        tracker.metrics(3, {"loss": 1.0})
    assert _history(client, tracker.run_id, "loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_kill_between_a_run_and_the_note_of_it_leaves_no_second_run(
    client, tmp_path, monkeypatch
):
    create = type(client).create_run

    class Killed(BaseException):
        pass

    def create_and_die(*given, **named):
        create(*given, **named)
        raise Killed

    folder = tmp_path / "train"
    monkeypatch.setattr(type(client), "create_run", create_and_die)
    with pytest.raises(Killed):
        _tracker(folder).__enter__()
    monkeypatch.setattr(type(client), "create_run", create)
    with _tracker(folder, params={"seed": 1}) as tracker:
        tracker.metrics(1, {"loss": 0.5})
        run_id = tracker.run_id
    experiments = [one.experiment_id for one in client.search_experiments()]
    mine = [
        run
        for run in client.search_runs(experiments)
        if run.data.tags["folder"] == f"{tmp_path.name}/train"
    ]
    assert [run.info.run_id for run in mine] == [run_id]
    assert mine[0].info.status == "FINISHED"
    assert mine[0].data.params["seed"] == "1"


def test_nothing_is_reported_to_the_makers_of_mlflow(client, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    with _tracker(tmp_path / "run"):
        pass
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"


def test_processes_open_an_sqlite_store_one_after_the_other(tmp_path):
    uri, order = f"sqlite:///{tmp_path}/new/mlflow.db", []

    def second():
        with alone(uri):
            order.append("second in")

    other = threading.Thread(target=second)
    with alone(uri):
        other.start()
        other.join(timeout=0.2)
        order.append("first out")
    other.join()
    assert order == ["first out", "second in"]


def test_a_cut_off_line_is_passed_over_and_then_replaced(tmp_path):
    journal = Journal(tmp_path / METRICS)
    journal.append(1, {"loss": 1.0})
    with (tmp_path / METRICS).open("a") as stream:
        stream.write('{"step": 2, "los')
    assert [entry.step for entry in read_log(tmp_path / METRICS)] == [1]
    assert journal.rewind(2) == 1
    journal.append(2, {"loss": 0.5})
    assert [entry.step for entry in read_log(tmp_path / METRICS)] == [1, 2]


@pytest.mark.parametrize("line", ["[1]", '"x"', '{"step": 1}', '{"step": [], "time": 0}', "\xff"])
def test_a_damaged_line_is_passed_over(tmp_path, line):
    (tmp_path / METRICS).write_text(line + '\n{"step": 2, "time": 0, "loss": 1}\n', "latin-1")
    assert [entry.step for entry in read_log(tmp_path / METRICS)] == [2]


def test_numbers_that_are_not_finite_are_valid_json(tmp_path):
    Journal(tmp_path / METRICS).append(1, {"loss": math.nan, "dice": 0.5})
    assert '"loss": null, "dice": 0.5' in (tmp_path / METRICS).read_text()
    assert math.isnan(read_log(tmp_path / METRICS)[0].values["loss"])


def test_the_journal_of_a_folder_without_one_is_empty(tmp_path):
    assert read_log(tmp_path / METRICS) == []
