"""The same job on other stream processors, on the same broker and the same events. One room per peer."""
