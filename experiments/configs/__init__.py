"""Configs of studies that come with handrail, as YAML."""
