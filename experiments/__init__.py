"""Replays and comparisons, their statistics and reports, and the command line. May import all else; nothing imports it.

``scenario`` says what is replayed, ``replay`` has the one loop, ``compare`` runs the arms, ``cli`` has the commands.
"""
