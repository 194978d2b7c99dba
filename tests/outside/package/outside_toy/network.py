"""The network `two_levels`, before it is built."""

from medssl.networks.choice import Network

TWO_LEVELS = Network("outside_toy.modules:two_levels", side_multiple=lambda _: 2)
