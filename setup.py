"""What pyproject.toml cannot say in a stable way: one extension module, optional.

Where there is no C compiler the installation goes on without it, and so does ``stream/wire/decode.py``.
"""

from setuptools import Extension, setup

setup(ext_modules=[Extension("stream.wire._scan", ["stream/wire/_scan.pyx"], optional=True)])
