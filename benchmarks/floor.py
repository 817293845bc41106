"""The floor: the same job as one hand-written DuckDB script, without contracts, tests, crash safety or layers.

`python -m benchmarks.floor FOLDER_OF_THE_DAY WORK_FOLDER DELIVERED_AT` plays one delivery. It lands both files as
Parquet, finds the time since which each customer record has arrived, cleans and quarantines, keeps both histories,
calculates the interest, and exports both marts as CSV and Parquet. Records of the wrong length are dropped, not kept.
"""

from __future__ import annotations

import sys
from contextlib import chdir
from pathlib import Path

import duckdb

from include.duckdb_paths import read

SQL = """
copy (
    select day.*, coalesce(before.loaded_at, {at}) as loaded_at
    from {customers} as day
    left join (select distinct * from customer_landing) as before
        on day.CustomerID is not distinct from before.CustomerID
        and day.Name is not distinct from before.Name and day.HasLoan is not distinct from before.HasLoan
) to 'customers.parquet';
copy (
    from {accounts}
) to 'accounts.parquet';
create or replace table customer_landing as from 'customers.parquet';

create or replace table customer_checked as
select *,
    case when customer_id is null then 'bad id; ' else '' end || case when name is null then 'no name; ' else '' end
    || case when has_loan is null then 'bad flag; ' else '' end as reasons
from (
    select
        case when regexp_full_match(trim(CustomerID, E' \\t\\r\\n'), '[0-9]+')
            then nullif(try_cast(trim(CustomerID, E' \\t\\r\\n') as bigint), 0) end as customer_id,
        lower(nullif(trim(Name, E' \\t\\r\\n'), '')) as name,
        case when lower(coalesce(trim(HasLoan, E' \\t\\r\\n'), '')) in ('yes', 'y', 'true', '1') then true
            when lower(coalesce(trim(HasLoan, E' \\t\\r\\n'), '')) in ('no', 'n', 'false', '0', '') then false
        end as has_loan,
        loaded_at
    from customer_landing
);
create or replace table account_checked as
select *,
    case when account_id is null then 'no id; ' else '' end
    || case when customer_id is null then 'bad customer; ' else '' end
    || case when balance is null or balance < 0 then 'bad balance; ' else '' end
    || case when account_type in ('savings', 'checking') then '' else 'bad type; ' end as reasons
from (
    select
        nullif(trim(AccountID, E' \\t\\r\\n'), '') as account_id,
        case when regexp_full_match(trim(CustomerID, E' \\t\\r\\n'), '[0-9]+')
            then nullif(try_cast(trim(CustomerID, E' \\t\\r\\n') as bigint), 0) end as customer_id,
        case when regexp_full_match(trim(Balance, E' \\t\\r\\n'), '[+-]?[0-9]+([.][0-9]+)?')
            then try_cast(trim(Balance, E' \\t\\r\\n') as decimal(18, 2)) end as balance,
        lower(trim(AccountType, E' \\t\\r\\n')) as account_type
    from 'accounts.parquet'
);
create or replace table stg_customer as
select customer_id, any_value(name) as name, any_value(has_loan) as has_loan, min(loaded_at) as loaded_at
from customer_checked where reasons = '' group by customer_id having count(distinct (name, has_loan)) = 1;
create or replace table stg_account as
select account_id, any_value(customer_id) as customer_id, any_value(balance) as balance,
    any_value(account_type) as account_type
from account_checked where reasons = '' group by account_id
having count(distinct (customer_id, balance, account_type)) = 1;

create or replace temp table customer_change as
select coalesce(s.customer_id, v.customer_id) as customer_id, s.name, s.has_loan, s.loaded_at,
    v.customer_id is not null as closes, s.customer_id is not null as opens
from stg_customer as s
full join (from snap_customer where valid_to is null) as v on s.customer_id = v.customer_id
where s.loaded_at is distinct from v.loaded_at
    and (s.customer_id is not null or v.customer_id not in
        (select customer_id from customer_checked where customer_id is not null));
update snap_customer set valid_to = {at} from customer_change as c
where c.closes and snap_customer.customer_id = c.customer_id and snap_customer.valid_to is null;
insert into snap_customer select customer_id, name, has_loan, loaded_at, {at}, null from customer_change where opens;

create or replace temp table account_change as
select coalesce(s.account_id, v.account_id) as account_id, s.customer_id, s.balance, s.account_type,
    v.account_id is not null as closes, s.account_id is not null as opens
from stg_account as s
full join (from snap_account where valid_to is null) as v on s.account_id = v.account_id
where (s.customer_id is distinct from v.customer_id or s.balance is distinct from v.balance
        or s.account_type is distinct from v.account_type)
    and (s.account_id is not null or v.account_id not in
        (select account_id from account_checked where account_id is not null));
update snap_account set valid_to = {at} from account_change as c
where c.closes and snap_account.account_id = c.account_id and snap_account.valid_to is null;
insert into snap_account
select account_id, customer_id, balance, account_type, {at}, null from account_change where opens;

create or replace table account_summary as
select account_id, customer_id, balance, rate, interest, balance + interest as new_balance
from (
    select *, cast(round(cast(balance as decimal(28, 2)) * rate, 2) as decimal(18, 2)) as interest
    from (
        select a.account_id, a.customer_id, a.balance,
            cast(case when a.balance < 10000 then 0.01 when a.balance < 20000 then 0.015 else 0.02 end
                + case when c.has_loan then 0.005 else 0 end as decimal(5, 4)) as rate
        from snap_account as a join snap_customer as c on a.customer_id = c.customer_id and c.valid_to is null
        where a.valid_to is null and a.account_type = 'savings'
    )
);
create or replace table customer_profile as
select c.customer_id, c.name, c.has_loan, s.accounts, s.balance, s.interest
from snap_customer as c
join (
    select customer_id, count(*) as accounts, sum(balance) as balance, sum(interest) as interest
    from account_summary group by customer_id
) as s on c.customer_id = s.customer_id
where c.valid_to is null;
copy (from account_summary order by account_id) to 'account_summary.csv' (header);
copy (from account_summary order by account_id) to 'account_summary.parquet' (compression zstd);
copy (from customer_profile order by customer_id) to 'customer_profile.csv' (header);
copy (from customer_profile order by customer_id) to 'customer_profile.parquet' (compression zstd);
"""

TABLES = """
create table if not exists customer_landing (
    CustomerID varchar, Name varchar, HasLoan varchar, loaded_at timestamp
);
create table if not exists snap_customer (
    customer_id bigint, name varchar, has_loan boolean, loaded_at timestamp, valid_from timestamp, valid_to timestamp
);
create table if not exists snap_account (
    account_id varchar, customer_id bigint, balance decimal(18, 2), account_type varchar,
    valid_from timestamp, valid_to timestamp
);
"""


def play(day: Path, work: Path, delivered_at: str) -> None:
    """Play one delivery. `work` is the folder of the database and the files that it creates."""
    work.mkdir(parents=True, exist_ok=True)
    options = "all_varchar = true, header = true, ignore_errors = true"
    customers, accounts = (read("csv", (day / name).resolve(), options) for name in ("customers.csv", "accounts.csv"))
    with chdir(work), duckdb.connect("floor.duckdb") as connection:
        connection.execute(TABLES)
        connection.execute(SQL.format(customers=customers, accounts=accounts, at=f"timestamp '{delivered_at}'"))


if __name__ == "__main__":
    play(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
