{# What the pipeline knows of an account beside its key: a difference in one of these makes a version. #}
{% macro account_columns() %}{% do return(['customer_id', 'balance_amount', 'account_type']) %}{% endmacro %}

{# What it knows of a customer beside its key. #}
{% macro customer_columns() %}{% do return(['customer_name', 'has_loan_flag']) %}{% endmacro %}

{# The account types that the pipeline accepts. #}
{% macro account_types() %}{% do return(['savings', 'checking']) %}{% endmacro %}
