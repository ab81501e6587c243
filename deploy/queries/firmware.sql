-- Which firmware sent how much, and when it was first seen.
select
  coalesce(firmware, 'unknown') as firmware,
  count(distinct id) as vehicles,
  count(*) as measurements,
  min(ymd) as first_day,
  date_trunc('hour', min(timestamp_iso)) as first_hour
from vehicle_kinematic_report
where ymd >= '2023-01-01'
group by coalesce(firmware, 'unknown')
having count(*) > 1
order by firmware
