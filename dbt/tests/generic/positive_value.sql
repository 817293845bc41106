{#
    Fails for each row whose value is not above zero, or below it where `zero_allowed`. NULLs are ignored; use not_null.
    A failure means that cleaning let a value through that it should have quarantined.
#}
{% test positive_value(model, column_name, zero_allowed=false) %}

select {{ column_name }}
from {{ model }}
where {{ column_name }} {{ '<' if zero_allowed else '<=' }} 0

{% endtest %}
