"""Train a detector or a classifier, test it and draw: python tools/train.py [experiment=NAME] [KEY=VALUE …] [-m]"""

import sys

import hydra
from omegaconf import DictConfig

from detector.commands.say_plainly import say_plainly
from detector.old_names import refuse_typed


@hydra.main(config_path="../conf", config_name="train", version_base="1.3")
@say_plainly
def main(config: DictConfig) -> float:
    from detector.commands.train import train

    return train(config)


if __name__ == "__main__":
    say_plainly(refuse_typed)(sys.argv[1:])
    main()
