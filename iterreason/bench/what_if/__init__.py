"""What other rules would have made of a recorded run, with no model: settings, their figures, curves and plots."""
