"""One module for each command of `python -m azaion_jobs`."""
