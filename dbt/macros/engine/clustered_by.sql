{# Clusters a large table by a key, if the engine can do so and the setting is on. Otherwise it does nothing. #}
{% macro clustered_by(key) %}{{ adapter.dispatch('clustered_by')(key) }}{% endmacro %}

{% macro default__clustered_by(key) %}{% endmacro %}

{% macro databricks__clustered_by(key) %}
    {%- if env_var('DATABRICKS_LIQUID_CLUSTERING', 'false') == 'true' %}{{ config(liquid_clustered_by=key) }}{% endif %}
{% endmacro %}
