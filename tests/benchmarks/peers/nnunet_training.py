"""Trains nnU-Net for a number of CPU seconds and predicts; carried out by its own environment.

    python nnunet_training.py DATASET PLANS SECONDS SEED SCANS OUT

The network, the batches, the loss and the optimiser are nnU-Net's. Its learning rate follows its
polynomial over the seconds instead of over 1000 epochs, no batch is spent on a validation that
chooses nothing, and all cases train (its fold "all"). One thread does everything.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CPU = torch.device("cpu")
POWER = 0.9
"""Of nnU-Net's polynomial schedule."""


class BudgetTrainer(nnUNetTrainer):
    """nnU-Net's trainer with an end that CPU seconds set."""

    def train_for(self, seconds: float) -> tuple[int, float]:
        """Steps that were taken, and the CPU seconds they took."""
        self.on_train_start()
        self.network.train()
        began, steps, used = time.process_time(), 0, 0.0
        while used < seconds:
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr * (1 - used / seconds) ** POWER
            self.train_step(next(self.dataloader_train))
            steps, used = steps + 1, time.process_time() - began
        self.set_deep_supervision_enabled(False)
        self.network.eval()
        return steps, used


def main() -> None:
    """Train, predict, and write what it took beside the masks."""
    dataset, plans_name, seconds, seed, scans, out = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002  (what nnU-Net draws from)
    prepared = Path(nnUNet_preprocessed) / dataset
    plans = json.loads((prepared / f"{plans_name}.json").read_text())
    plans["continue_training"] = False
    data = json.loads((prepared / "dataset.json").read_text())
    trainer = BudgetTrainer(plans, "3d_fullres", "all", data, CPU)
    steps, used = trainer.train_for(float(seconds))
    began = time.process_time()
    predictor = nnUNetPredictor(device=CPU, perform_everything_on_device=True, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        None,
        data,
        "nnUNetTrainer",
        trainer.inference_allowed_mirroring_axes,
    )
    trained = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    predictor.list_of_parameters = [trained]
    Path(out).mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(scans, out)
    took = {
        "steps": steps,
        "training": used,
        "prediction": time.process_time() - began,
        "patch": trainer.configuration_manager.patch_size,
        "batch": trainer.configuration_manager.batch_size,
        "parameters": sum(one.numel() for one in trainer.network.parameters()),
    }
    (Path(out) / "took.json").write_text(json.dumps(took, default=int))


if __name__ == "__main__":
    main()
