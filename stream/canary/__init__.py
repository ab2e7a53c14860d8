"""Canary analysis: is the new version worse than the one that serves beside it?"""
