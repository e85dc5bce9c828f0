"""`python -m dwell` is `dwell`."""

from dwell.cli import main

main()
