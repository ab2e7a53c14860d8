"""Each step of the way by itself: ``make bench-micro``. No part of the ordinary suite."""
