{# Fails for each row whose time is later than the current delivery. NULLs are ignored; use not_null. #}
{% test not_after_delivery(model, column_name) %}

select {{ column_name }}
from {{ model }}
where {{ column_name }} > {{ delivered_at() }}

{% endtest %}
