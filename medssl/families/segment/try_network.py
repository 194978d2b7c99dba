"""A network of another package is tried before data are read; those of medssl are known."""

from medssl.families.segment.config import SegmentConfig


def try_network(config: SegmentConfig) -> None:
    """Whether the network of another package maps the run's patches to logits of their size.

    Raises:
        UsageError: it does not, or cannot be built; names the nearest patch that would do.
    """
    network, train = config.pipeline.network, config.pipeline.train
    if network.packages:
        from medssl.networks.trial import must_answer

        channels, classes = len(config.spec.channels), len(config.spec.classes)
        must_answer(network, channels, classes, train.patch, train.batch_labelled)
