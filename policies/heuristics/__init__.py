"""Hand-written policies, one folder a domain. They read the observation that learned policies read, by field name."""
