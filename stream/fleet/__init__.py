"""What a change touches, what became of changes like it, and what it puts at risk."""
