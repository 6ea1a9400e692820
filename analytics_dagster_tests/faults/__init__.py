"""Histories of faults: drawn by a seed, played against real loads, and compared row by row with the API."""
