"""The commands of ``lrpserve``: options, input files, output files and what the terminal shows."""
