"""Training. The only place in handrail that imports torch and Stable-Baselines3, and only when a training starts.

``cem`` searches parameters on a score that the caller computes (no torch needed); ``ppo`` and ``dqn`` train networks on
a gymnasium environment, ``maskable_ppo`` a scheduling scorer, best on rewards ``against_fallback``. ``prefetch_ppo``
and ``bandit``, the latter without torch, train a prefetch scorer on windows of an access trace. ``residual_ppo`` starts
at a clone of a heuristic, ``lagrangian`` prices missed objectives, ``tally`` counts them while a training goes on. What
comes out is what ``handrail.policies.save_policy`` writes and NumPy alone runs.
"""
