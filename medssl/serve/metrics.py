"""What the service counts, in the form that Prometheus reads."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from medssl.serve.job import Job
from medssl.serve.journal import Journal

_SECONDS = (0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800)


class Metrics:
    """The counters of a service since its start, and the studies in its journal."""

    def __init__(self, journal: Journal) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "medssl_request_seconds",
            "Requests by how long they took",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._studies = Histogram(
            "medssl_study_seconds",
            "Studies by how long the model took",
            ("outcome",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._images = Counter(
            "medssl_images_received", "Images that were accepted", registry=self._registry
        )
        self._registry.register(_Jobs(journal))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def images(self, count: int) -> None:
        """Count images that were accepted."""
        self._images.inc(count)

    def study(self, job: Job) -> None:
        """Count a study that ended, and its time."""
        self._studies.labels(job.state).observe(job.seconds or 0)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def collect(self) -> Iterable[Metric]:
        """Studies by state, now."""
        counts = self._journal.counts()
        found = GaugeMetricFamily("medssl_studies", "Studies in the journal", labels=("state",))
        for state in ("waiting", "running", "done", "failed"):
            found.add_metric((state,), counts[state])
        yield found
