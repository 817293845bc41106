{# The name of the session's time zone. #}
{% macro session_time_zone() %}{{ return(adapter.dispatch('session_time_zone')()) }}{% endmacro %}

{% macro duckdb__session_time_zone() -%} current_setting('TimeZone') {%- endmacro %}

{% macro databricks__session_time_zone() -%} current_timezone() {%- endmacro %}
