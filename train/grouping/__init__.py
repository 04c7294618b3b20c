"""The parts of `train.groups`: folds, draws, poolings, and what is made of them."""
