"""From a model file to the one form that the engine works on: read, checked, upgraded and cleaned."""
