"""Event time: panes, chunks, watermarks and rolling sums."""
