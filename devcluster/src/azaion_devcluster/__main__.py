"""`python -m azaion_devcluster`."""

from azaion_devcluster.cli import main

main()
