from c2wtasks.graph.graph import Graph as Graph
