"""Explanations of many inputs in a folder of Parquet files; needs the extra ``parquet``."""
