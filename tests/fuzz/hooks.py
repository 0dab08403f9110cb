"""A picture for generated requests, so that they get past the decoder."""

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image

buffer = io.BytesIO()
Image.linear_gradient("L").save(buffer, "JPEG")
schemathesis.openapi.format("binary", st.just(buffer.getvalue()))
