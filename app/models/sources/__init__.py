"""Where networks come from that `lrpserve add` stores: one file a source."""
