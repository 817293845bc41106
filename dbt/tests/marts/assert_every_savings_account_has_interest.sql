-- A savings account has no row in account_summary, or a row there has no savings account: a tier is missing, or a
-- delete did not reach the mart.
with savings as (

    select * from {{ ref('int_savings_account_only') }}

),

summaries as (

    select * from {{ ref('account_summary') }}

)

select
    savings.account_id as savings_account_id,
    summaries.account_id as summary_account_id
from savings
full outer join summaries on savings.account_id = summaries.account_id
where
    savings.account_id is null
    or summaries.account_id is null
    or savings.balance_amount is distinct from summaries.original_balance_amount
    or savings.customer_id is distinct from summaries.customer_id
