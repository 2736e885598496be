"""The study of guard rails: a matrix of replays, and what it says of the guard.

``config`` declares the matrix, ``matrix`` expands it, ``realise`` makes a replicate ready, ``replays`` runs its arms,
``store`` keeps one file a run, ``runner`` does all that is not there yet, ``cells`` puts runs together again and
``evaluate``, ``bar``, ``report`` and ``figures`` say what came of it.
"""
