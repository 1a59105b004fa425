"""Datasets: how annotated images become the dated folder that a training reads.

Nothing is imported here, because `dataset.manifest` must stay free of anything heavy. The modules:

- `forming` makes a dataset, `augmentation` the variants it may be made of, `preview` pictures of it;
- `manifest` reads, verifies and compares datasets, with the standard library alone;
- `classes`, `labels`, `images`, `media`, `assignment` each know one input or one rule;
- `corrupted` moves bad pairs out of the way, `durability` speaks to the file system.
"""
