"""Figures: plain functions from what the engine computed to plotly figures and to the graph of layers."""
