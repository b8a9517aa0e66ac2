"""What checks annotations while the tests run; an int may stand for a float, as Python itself has it."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
