"""Gather runs into one table and plots: python tools/compare.py runs=PATH [baseline=mlp]"""

import hydra
from omegaconf import DictConfig

from detector.commands.say_plainly import say_plainly


@hydra.main(config_path="../conf", config_name="compare", version_base="1.3")
@say_plainly
def main(config: DictConfig) -> None:
    from detector.commands.compare import compare

    compare(config)


if __name__ == "__main__":
    main()
