"""What a newcomer sees: a small shop's hour told in a minute, to a real Kafka and a real worker."""

from stream.demo.play import load
from stream.demo.run import run

__all__ = ["load", "run"]
