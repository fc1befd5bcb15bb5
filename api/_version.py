"""The version that is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("quantscope")
except PackageNotFoundError:  # run from a copy of the source
    __version__ = "0+unknown"
