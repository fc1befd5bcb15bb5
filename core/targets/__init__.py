"""What a runtime or chip accepts, and where quantizers go."""
