"""Draw what a trained detector finds: python tools/predict.py checkpoint=PATH source=FILE|FOLDER|PATTERN"""

import hydra
from omegaconf import DictConfig

from detector.commands.say_plainly import say_plainly


@hydra.main(config_path="../conf", config_name="predict", version_base="1.3")
@say_plainly
def main(config: DictConfig) -> None:
    from detector.commands.predict import predict

    predict(config)


if __name__ == "__main__":
    main()
