"""Simulators and their Gymnasium environments. Importing this package registers the environments.

``gymnasium.make("handrail.envs:handrail/LLMRouting-v0")`` works without an import of its own.
"""

from .common import register_once

register_once("handrail/LLMRouting-v0", "handrail.envs.llm_serving.environment:LLMRoutingEnv")
register_once("handrail/ClusterScheduling-v0", "handrail.envs.cluster.environment:ClusterSchedulingEnv")
register_once("handrail/ClusterPlacement-v0", "handrail.envs.cluster.placement_environment:ClusterPlacementEnv")
register_once("handrail/CachePrefetch-v0", "handrail.envs.prefetch.environment:CachePrefetchEnv")
