"""The bundles of a catalog as doit tasks, and what the engine asks of them.

May import `cache`, `tasks` and what lies below.
Tests: tests/graph.
"""

from c2wtasks.graph.graph import Graph as Graph
