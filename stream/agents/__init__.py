"""Faust agents, one thin file each: they move bytes and call the pure core."""
