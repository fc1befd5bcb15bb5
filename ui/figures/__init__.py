"""Figures: plain functions from what the engine computed to plotly figures or ECharts specifications."""
