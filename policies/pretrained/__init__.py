"""Policies that come with the package, one folder a domain; ``make_policy("bundled", layout)`` loads the router's."""
