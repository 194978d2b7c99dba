"""Which encoders say something of a whole window once their coarsest map is averaged."""

from medssl.errors import UsageError
from medssl.networks.choice import NetworkChoice
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.settings import UNETS


def must_keep_means(network: NetworkChoice, method: str, what: str) -> None:
    """Refuse an encoder that ends in an instance norm, which gives all windows the same means.

    Args:
        method: that averages.
        what: it averages over, in words.

    Raises:
        UsageError: says what to set.
    """
    said = f"{method} averages over {what}, of which an instance norm leaves little"
    of_nnunet = network.name in UNETS
    other_networks = "vnet with network.norm=group" if network.is_flat else "conv_fpn or swin_fpn"
    norm = getattr(network, "norm", None)
    if of_nnunet or (network.name in {"vnet", "unet3d"} and norm == "instance"):
        other = "" if of_nnunet else "set network.norm=group, or "
        raise UsageError(
            said,
            f"it gives every channel of {what} one mean",
            f"{other}choose network.name={other_networks}",
        )
    if isinstance(network, MonaiSettings) and (key := network.ends_in_instance_norm):
        raise UsageError(
            said,
            f"{network.name} ends its encoder in one, by network.{key}",
            f"set network.{key}=batch, or choose network.name={other_networks}",
        )
