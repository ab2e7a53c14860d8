"""A second, independent reading of the contract: slow, plain, meant to be checked by eye.

``events`` is section 1, ``objectives`` section 2, ``clock`` section 3, ``decisions`` section 4, ``records``
section 5, ``replay`` puts them together as section 6 says; ``compare`` judges another program's output.
It shares no code with ``stream`` on purpose, computes in whole numbers and fractions only, and looks at the
raw list of events again at every tick. Where the contract leaves a choice, ``AMBIGUITIES.md`` says which one
was made.
"""

from .replay import replay

__all__ = ["replay"]
