{{ config(
    unique_key='customer_id',
    post_hook=delete_vanished('customer_id', "select distinct customer_id from {{ ref('account_summary') }}")
) }}

-- Totals of each customer with savings.
{%- set columns = [
    'customer_name', 'has_loan_flag', 'total_accounts_count', 'total_balance_amount', 'total_annual_interest_amount'
] %}
with summaries as (

    select * from {{ ref('account_summary') }}

),

savings as (

    select * from {{ ref('int_savings_account_only') }}

),

totals as (

    select
        savings.customer_id,
        savings.customer_name,
        savings.has_loan_flag,
        count(*) as total_accounts_count,
        cast(sum(summaries.original_balance_amount) as decimal(38, 2)) as total_balance_amount,
        cast(sum(summaries.annual_interest_amount) as decimal(38, 2)) as total_annual_interest_amount
    from summaries
    inner join savings on summaries.account_id = savings.account_id
    group by savings.customer_id, savings.customer_name, savings.has_loan_flag

)

select
    totals.customer_id,
    totals.customer_name,
    totals.has_loan_flag,
    totals.total_accounts_count,
    totals.total_balance_amount,
    totals.total_annual_interest_amount,
    {{ calculated_at('totals', 'customer_id', columns) }} as calculated_at
from totals
{{ only_changed('totals', 'customer_id', columns, time='held.calculated_at') }}
