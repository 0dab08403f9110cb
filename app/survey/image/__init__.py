"""Surveys of pictures: strategies by which classes are recognised, and where relevance lies."""
