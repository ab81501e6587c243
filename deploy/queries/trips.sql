-- The trips of each vehicle: a new one begins where nothing was measured for half an hour.
with steps as (
  select
    id,
    timestamp_iso,
    odometer,
    case
      when lag(timestamp_iso) over (partition by id order by timestamp_iso, seq) >= timestamp_iso - interval '30' minute
        then 0
      else 1
    end as is_first,
    seq
  from vehicle_kinematic_report
  where ymd = '2023-01-01'
),
numbered as (
  select
    id,
    timestamp_iso,
    odometer,
    sum(is_first) over (
      partition by id order by timestamp_iso, seq rows between unbounded preceding and current row
    ) as trip
  from steps
)
select
  id,
  trip,
  min(timestamp_iso) as began,
  max(timestamp_iso) as ended,
  max(odometer) - min(odometer) as meters
from numbered
group by id, trip
order by id, trip
