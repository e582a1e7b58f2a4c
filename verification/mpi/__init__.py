"""pytest and Hypothesis on several ranks: in step, bounded in time, with one verdict and no lost evidence."""
