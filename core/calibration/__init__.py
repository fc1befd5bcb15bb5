"""From samples to statistics: a histogram of every tensor."""
