-- Where a vehicle lost more than 30 km/h from one measurement to the next.
with steps as (
  select
    id,
    timestamp_iso,
    speed,
    lag(speed) over (partition by id order by timestamp_iso, seq) as speed_before
  from vehicle_kinematic_report
  where timestamp_iso >= timestamp '2023-01-01 00:00:00'
    and timestamp_iso < timestamp '2023-01-02 00:00:00'
)
select id, timestamp_iso, speed_before, speed
from steps
where speed_before - speed > 30
order by id, timestamp_iso
