"""The tasks by the names that recipes give them."""

from train.comparison.classification import Classification
from train.comparison.embedding import Embedding

TASKS = {"embedding": Embedding(), "classification": Classification()}
