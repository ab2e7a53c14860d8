"""What the whole job costs, beside what merely reading costs, in one run on one machine."""
