"""A project on disk: which model and data, and every recipe the user ever had."""
