"""Names of the files in the folder that a survey writes."""

REPORT, ITEMS, SUMMARY, VIRELAY = "report.html", "items.parquet", "summary.json", "virelay"
RELEVANCE = "relevance.h5"
