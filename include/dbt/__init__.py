"""The dbt project in dbt/, as the DAG and `python -m include.deliver` use it."""
