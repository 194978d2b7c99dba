"""Transforms with a fault each, as another package might offer them."""

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.transforms.traits import RandomizableTrait


class Halvedd(MapTransform):
    """Takes every other voxel and keeps it to itself."""

    def __call__(self, data):
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            changed[key] = MetaTensor(
                image.as_tensor()[:, ::2], meta=image.meta, applied_operations=[]
            )
        return changed


class Forgetfuld(MapTransform):
    """Drops the image."""

    def __call__(self, data):
        return {key: value for key, value in data.items() if key not in self.keys}


class Barend(MapTransform):
    """Returns a tensor that knows of no grid."""

    def __call__(self, data):
        return {**data, "image": data["image"].as_tensor()}


class Dividedd(MapTransform):
    """Divides by zero."""

    def __call__(self, data):
        return {**data, "image": data["image"] / torch.zeros(1)}


class Failingd(MapTransform):
    """Raises what it likes."""

    def __call__(self, data):
        raise KeyError("no such thing")


class Writingd(MapTransform):
    """Writes into what it is given."""

    def __call__(self, data):
        data["image"].mul_(2)
        return dict(data)


class Looselyd(MapTransform, RandomizableTrait):
    """Draws from a state that all threads share."""

    def __call__(self, data):
        return {**data, "image": data["image"] + torch.rand(1)}
