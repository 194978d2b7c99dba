"""Networks with several heads: one answers, and in training the others are taught as well.

Legend: B items, C channels, H heads, K classes, X Y Z voxels.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder
from medssl.networks.own_loss import give


class ManyHeads(nn.Module):
    """A network that may return several maps: a list of them, or [B, H, K, X, Y, Z].

    A scalar among them, a mean over the items, is a loss of its own, which is learnt from as well
    (`medssl.networks.own_loss`). What its modules share under two names is kept once in
    `state_dict`, under the first.

    Attributes:
        by_rows: what it offers beside `forward` that answers each item of a batch by itself.
        encoder: the part that can be pre-trained, of the same modules; None: there is none.
    """

    by_rows: ClassVar = ("heads",)
    encoder: VolumeEncoder | None

    def __init__(
        self,
        network: nn.Module,
        last_answers: bool = False,
        encoder: VolumeEncoder | None = None,
        own_loss: float = 1.0,
    ) -> None:
        """Wrap a network.

        Args:
            network: images [B, C, X, Y, Z] to logits of one head or of several.
            last_answers: whether the last map of a list answers; otherwise the first.
            encoder: built of the network's own modules.
            own_loss: weight of a loss of its own.
        """
        super().__init__()
        self.own_loss = own_loss
        self.network, self.last_answers, self.encoder = network, last_answers, encoder
        self.register_state_dict_post_hook(_without_second_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_second_names)  # type: ignore[no-untyped-call]

    def heads(self, image: Tensor) -> list[Tensor]:
        """Logits of every head: that of the answer [B, K, X, Y, Z], then those that help it learn.

        The helping ones may be coarser; in evaluation mode there are none.
        """
        found: Any = self.network(image)
        if isinstance(found, Tensor):
            maps = list(found.unbind(1)) if found.ndim == image.ndim + 1 else [found]
        else:
            answers = [one for one in found if one is not None]
            maps = [one for one in answers if not _is_scalar(one)]
            for loss in filter(_is_scalar, answers):
                give(self, self.own_loss * loss, len(image))
            maps = maps[:: -1 if self.last_answers else 1]
        return maps if self.training else maps[:1]

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        return self.heads(image)[0]


def heads_of(network: nn.Module, image: Tensor) -> list[Tensor]:
    """As `ManyHeads.heads`; of a network with a single head its answer alone."""
    return network.heads(image) if isinstance(network, ManyHeads) else [network(image)]


def _is_scalar(answer: Any) -> bool:
    return isinstance(answer, Tensor) and answer.ndim == 0


def _second_names(network: nn.Module) -> dict[str, str]:
    """The first name of each weight by its further ones."""
    first: dict[int, str] = {}
    found = {}
    for named in (network.named_parameters, network.named_buffers):
        for name, one in named(remove_duplicate=False):
            if first.setdefault(id(one), name) != name:
                found[name] = first[id(one)]
    return found


def _without_second_names(
    network: nn.Module, state: dict[str, Any], prefix: str, _: dict[str, Any]
) -> None:
    for second in _second_names(network):
        state.pop(prefix + second, None)


def _with_second_names(network: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for second, first in _second_names(network).items():
        if prefix + first in state:
            state[prefix + second] = state[prefix + first]
