"""Programs that train and evaluate: `python -m train.NAME`, from the root."""
