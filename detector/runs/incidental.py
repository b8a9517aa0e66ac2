"""Which options do not make two runs different things."""

from omegaconf import OmegaConf

INCIDENTAL = ("experiment", "output_dir", "checkpoint", "continue", "threads", "pictures", "data.dataset.root",
              "data.num_workers", "trainer.accelerator", "cache.gigabytes", "cache.folder")
"""A run that goes on may have others, and so may runs of one row; no directory of a comparison is named by them.
What changes figures is not here: `trainer.precision`, and `trainer.devices`, each of which takes a batch."""

# for conf/comparison.yaml:
OmegaConf.register_new_resolver("incidental", lambda *more: [*INCIDENTAL, *more], replace=True)
