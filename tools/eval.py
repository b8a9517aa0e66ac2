"""Test a trained detector or classifier: python tools/eval.py checkpoint=PATH [split=test] [KEY=VALUE …]"""

import hydra
from omegaconf import DictConfig

from detector.commands.say_plainly import say_plainly


@hydra.main(config_path="../conf", config_name="eval", version_base="1.3")
@say_plainly
def main(config: DictConfig) -> float:
    from detector.commands.evaluate import evaluate

    return evaluate(config)


if __name__ == "__main__":
    main()
