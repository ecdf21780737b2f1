"""Hides scikit-learn from the programs under test: the images lack it, and finding it costs them a second."""

raise ImportError("the images have no scikit-learn")
