{#
    Fails if a source table does not hold the ledger's last delivery: its records are not numbered from 1 to the number of
    records in that delivery's file. `entity` is the prefix of the file's fields in the ledger, as in customers_rows.
#}
{% test holds_current_delivery(model, entity) %}

with counted as (

    select
        count(*) as found_count,
        min(source_row_number) as lowest_row_number,
        max(source_row_number) as highest_row_number,
        {{ current_delivery()[entity ~ '_rows'] or 0 }} as landed_count
    from {{ model }}

)

select * from counted
where
    found_count is distinct from landed_count
    or lowest_row_number is distinct from 1
    or highest_row_number is distinct from landed_count

{% endtest %}
