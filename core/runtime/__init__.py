"""How ONNX Runtime is driven: sessions, what it makes of a graph, and how this machine adds integers."""
