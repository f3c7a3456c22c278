"""What data and models look like: raw tables, example schemas and the serving contract."""
