"""The parts of `python -m train.compare`: methods x seeds under one budget."""
