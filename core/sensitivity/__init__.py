"""Which layers matter: runs of a model with some of its quantizers on, and the rankings made of them."""

from quantscope.core.sensitivity.runs import SAMPLES, Kind, Plan, Run, Subject, plan, stream

__all__ = ["SAMPLES", "Kind", "Plan", "Run", "Subject", "plan", "stream"]
