{# Keeps a large table's rows in order of a key where the engine can and it is asked for; elsewhere it does nothing. #}
{% macro clustered_by(key) %}{{ adapter.dispatch('clustered_by')(key) }}{% endmacro %}

{% macro default__clustered_by(key) %}{% endmacro %}

{% macro databricks__clustered_by(key) %}
    {%- if env_var('DATABRICKS_LIQUID_CLUSTERING', 'false') == 'true' %}{{ config(liquid_clustered_by=key) }}{% endif %}
{% endmacro %}
