"""Training: the supervisor that never gives up, the trainer it starts, and the checkpoints between them.

Empty on purpose: the supervisor imports its parts from here without loading torch.
"""
