"""Lets tests in the folders below import ``synthetic_observations``: pytest puts this file's folder on the path."""
