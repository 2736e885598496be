"""Replays and comparisons, their statistics and reports, and the command line. May import all else; nothing imports it.

``scenario`` says what is replayed, ``replay`` has the one loop, ``compare`` runs the arms, ``domains`` has what is
special to each domain, ``cli`` has the commands. What has a domain in its name is for that one alone.
"""
