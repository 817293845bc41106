{# The account types that the bank knows. #}
{% macro account_types() %}{% do return(['savings', 'checking']) %}{% endmacro %}
