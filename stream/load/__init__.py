"""Load profiles: request events made from a seed."""
