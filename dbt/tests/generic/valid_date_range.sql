{#
    Fails for each row whose range ends at or before its start, or has no start. NULL ends are open. A failure in a snapshot
    means that a version was closed at a time that does not follow its beginning.
#}
{% test valid_date_range(model, starts_at, ends_at) %}

select
    {{ starts_at }},
    {{ ends_at }}
from {{ model }}
where
    {{ starts_at }} is null
    or {{ ends_at }} <= {{ starts_at }}

{% endtest %}
