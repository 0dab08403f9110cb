"""Pictures: decoding, preprocessing and drawing."""
