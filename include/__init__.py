"""The Python that the DAG calls: settings, ingestion, warehouses, exports, quality report."""
