"""The commands of `dwell`, a file each; `dwell.cli` loads them when they are run."""
