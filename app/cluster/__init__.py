"""The service and its commands on a Ray cluster; needs the extra ``ray``."""
