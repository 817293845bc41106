{% set columns = [
    'customer_name', 'has_loan_flag', 'total_accounts_count', 'total_balance_amount', 'total_annual_interest_amount'
] %}
{{ config(
    unique_key='customer_id',
    post_hook=delete_vanished('customer_id', "select distinct customer_id from {{ ref('account_summary') }}")
) }}
{{ update_if_different(columns) }}
{{ clustered_by('customer_id') }}

-- Totals of each customer with savings.
with summaries as (

    select * from {{ ref('account_summary') }}

),

savings as (

    select * from {{ ref('int_savings_account_only') }}

),

customers as (

    select distinct
        customer_id,
        customer_name,
        has_loan_flag
    from savings

),

totals as (

    select
        customer_id,
        count(*) as total_accounts_count,
        cast(sum(original_balance_amount) as decimal(38, 2)) as total_balance_amount,
        cast(sum(annual_interest_amount) as decimal(38, 2)) as total_annual_interest_amount
    from summaries
    group by customer_id

),

profiles as (

    select
        totals.*,
        customers.customer_name,
        customers.has_loan_flag
    from totals
    inner join customers on totals.customer_id = customers.customer_id

)

select
    profiles.customer_id,
    profiles.customer_name,
    profiles.has_loan_flag,
    profiles.total_accounts_count,
    profiles.total_balance_amount,
    profiles.total_annual_interest_amount,
    {{ delivered_at() }} as calculated_at
from profiles
{{ only_changed('profiles', 'customer_id', columns, time='held.calculated_at') }}
-- DuckDB's merge takes minutes and not tenths of a second for a million updates out of the table's own order.
order by profiles.customer_id
